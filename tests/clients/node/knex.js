/** Knex on mysql2. */
import assert from 'node:assert/strict';

import knex from 'knex';

import { large, run, sha256, shop, threeMessages } from './shop.js';

const db = knex({ client: 'mysql2', connection: shop });

// docs:begin
async function enqueue(trx, topic, key, payload, options = {}) {
  // The first row of the first result set; raw() returns what mysql2 does, [results, fields].
  const [[[{ id }]]] = await trx.raw('CALL outbox_enqueue_returning_v1(?, ?, ?, ?, ?)', [
    'shop.order', topic, key, JSON.stringify(payload), JSON.stringify(options),
  ]);
  return id;
}

async function placeOrder(customer) {
  return db.transaction(async (trx) => {
    const [order] = await trx('shop_orders').insert({ customer });
    return enqueue(trx, 'shop', customer, { order });
  });
}
// docs:end

await run({
  async commit() {
    await assert.rejects(placeOrder(''), { errno: 30001 }); // no message without a key
    return { id: await placeOrder('Ada') };
  },

  async rollback() {
    const trx = await db.transaction();
    await trx('shop_orders').insert({ customer: 'Bob' });
    const id = await enqueue(trx, 'shop', 'Bob', { order: 1 });
    await trx.rollback();
    return { id };
  },

  async batch() {
    return db.transaction(async (trx) => {
      await trx('shop_orders').insert({ customer: 'Cleo' });
      await trx.raw('CALL outbox_enqueue_batch_v1(?, @enqueued)', [threeMessages('Cleo')]);
      const [[{ enqueued }]] = await trx.raw('SELECT @enqueued AS enqueued');
      return { enqueued };
    });
  },

  async dedup() {
    const once = (trx) => enqueue(trx, 'shop', 'Dora', { order: 1 }, { dedup_key: 'order 1' });
    return { ids: [await db.transaction(once), await db.transaction(once)] };
  },

  async large() {
    return { id: await db.transaction((trx) => enqueue(trx, 'shop', 'Eve', large)), sha256: sha256(large) };
  },

  async refused() {
    try {
      return { id: await db.transaction((trx) => enqueue(trx, '', 'Finn', {})) };
    } catch ({ errno, sqlMessage }) {
      // `message` has the whole statement in it, payload and all.
      return { errno, message: sqlMessage };
    }
  },

  async prepared() {
    // Knex has no prepared statements on MySQL: it writes the values into the text.
    const ids = [];
    for (const order of [1, 2, 3]) ids.push(await enqueue(db, 'shop', 'Gus', { order }));
    return { ids };
  },

  async pool() {
    const single = knex({ client: 'mysql2', connection: shop, pool: { min: 1, max: 1 } });
    const first = await enqueue(single, 'shop', 'Hal', {});
    await assert.rejects(enqueue(single, '', 'Hal', {}), { errno: 30001 });
    const second = await enqueue(single, 'shop', 'Hal', {});
    await single.destroy();
    return { ids: [first, second] };
  },

  async last_insert_id() {
    return db.transaction(async (trx) => {
      const [order] = await trx('shop_orders').insert({ customer: 'Ida' });
      await enqueue(trx, 'shop', 'Ida', { order });
      const [line] = await trx('shop_lines').insert({ order_id: trx.raw('LAST_INSERT_ID()') });
      const { order_id } = await trx('shop_lines').where({ id: line }).first('order_id');
      return { order, line_order: order_id };
    });
  },
});
await db.destroy();
