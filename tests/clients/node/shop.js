/** What the programs share: where the shop's database is, payloads, and how a case is reported. */
import { createHash } from 'node:crypto';

const { SHOP_HOST, SHOP_PORT, SHOP_USER, SHOP_PASSWORD, SHOP_DATABASE } = process.env;

/** How to connect; the drivers use these names. */
export const shop = {
  host: SHOP_HOST,
  port: Number(SHOP_PORT),
  user: SHOP_USER,
  password: SHOP_PASSWORD,
  database: SHOP_DATABASE,
};

/** The argument of outbox_enqueue_batch_v1: three messages of one key. */
export function threeMessages(key) {
  const orders = [1, 2, 3];
  return JSON.stringify(orders.map((order) => ({ biz_type: 'shop.order', topic: 'shop', key, payload: { order } })));
}

/** A payload of more than 1 MiB, with what a driver that writes the values into the statement could get wrong. */
export const large = { text: 'Zoë 🛒 "quoted" \\ \' ? :name \n'.repeat(32_000) };

/** The checksum of the text that a payload is sent as. */
export function sha256(payload) {
  return createHash('sha256').update(JSON.stringify(payload), 'utf8').digest('hex');
}

/** Runs the cases in their order, and prints a line of JSON for each; an id may be a number, a bigint or a string. */
export async function run(cases) {
  const number = (id) => Number(id);
  for (const [name, body] of Object.entries(cases)) {
    const found = await body();
    for (const key of ['id', 'order', 'line_order']) if (key in found) found[key] = number(found[key]);
    if (found.ids) found.ids = found.ids.map(number);
    console.log(JSON.stringify({ case: name, ...found }));
  }
}
