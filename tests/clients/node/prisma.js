/** Prisma on its adapter for the MariaDB connector. */
import assert from 'node:assert/strict';

import { PrismaMariaDb } from '@prisma/adapter-mariadb';

import { PrismaClient } from './client/index.js';
import { large, run, sha256, shop, threeMessages } from './shop.js';

function connect(options = {}) {
  // Without TLS the connector asks for the server's public key only if it is allowed to. The adapter keeps no prepared
  // statements unless told how many.
  const settings = { ...shop, allowPublicKeyRetrieval: true, prepareCacheLength: 16, ...options };
  return new PrismaClient({ adapter: new PrismaMariaDb(settings) });
}

const prisma = connect();

// docs:begin
async function enqueue(tx, topic, key, payload, options = {}) {
  await tx.$executeRaw`CALL outbox_enqueue_with_options_v1(
    'shop.order', ${topic}, ${key}, ${JSON.stringify(payload)}, ${JSON.stringify(options)}, @id)`;
  // The same connection, as this is in a $transaction. The id is a BigInt.
  const [{ id }] = await tx.$queryRaw`SELECT @id AS id`;
  return id;
}

async function placeOrder(customer) {
  return prisma.$transaction(async (tx) => {
    const order = await tx.order.create({ data: { customer } });
    return enqueue(tx, 'shop', customer, { order: Number(order.id) });
  });
}
// docs:end

/** The id as a row: Prisma loses the columns of a CALL's result sets, so it is read by position. */
async function enqueueReturning(client, key, payload) {
  const [row] = await client.$queryRaw`
    CALL outbox_enqueue_returning_v1('shop.order', 'shop', ${key}, ${JSON.stringify(payload)}, NULL)`;
  const [[id]] = Object.values(row);
  return id;
}

const isRefusal = (error) => error.meta?.driverAdapterError?.cause.code === 30001;

await run({
  async commit() {
    await assert.rejects(placeOrder(''), isRefusal); // no message without a key
    return { id: await placeOrder('Ada') };
  },

  async rollback() {
    const undo = new Error('rolled back');
    let id;
    try {
      await prisma.$transaction(async (tx) => {
        await tx.order.create({ data: { customer: 'Bob' } });
        id = await enqueue(tx, 'shop', 'Bob', { order: 1 });
        throw undo;
      });
    } catch (error) {
      if (error !== undo) throw error;
    }
    return { id };
  },

  async batch() {
    return prisma.$transaction(async (tx) => {
      await tx.order.create({ data: { customer: 'Cleo' } });
      await tx.$executeRaw`CALL outbox_enqueue_batch_v1(${threeMessages('Cleo')}, @enqueued)`;
      const [{ enqueued }] = await tx.$queryRaw`SELECT @enqueued AS enqueued`;
      return { enqueued: Number(enqueued) };
    });
  },

  async dedup() {
    const once = (tx) => enqueue(tx, 'shop', 'Dora', { order: 1 }, { dedup_key: 'order 1' });
    return { ids: [await prisma.$transaction(once), await prisma.$transaction(once)] };
  },

  async large() {
    return { id: await prisma.$transaction((tx) => enqueue(tx, 'shop', 'Eve', large)), sha256: sha256(large) };
  },

  async refused() {
    try {
      return { id: await prisma.$transaction((tx) => enqueue(tx, '', 'Finn', {})) };
    } catch (error) {
      const { code, message } = error.meta.driverAdapterError.cause;
      return { errno: code, message };
    }
  },

  async prepared() {
    const ids = [];
    for (const order of [1, 2, 3]) ids.push(await enqueueReturning(prisma, 'Gus', { order }));
    return { ids };
  },

  async pool() {
    const single = connect({ connectionLimit: 1 });
    const call = (topic) => single.$transaction((tx) => enqueue(tx, topic, 'Hal', {}));
    const first = await call('shop');
    await assert.rejects(call(''), isRefusal);
    const second = await call('shop');
    await single.$disconnect();
    return { ids: [first, second] };
  },

  async last_insert_id() {
    return prisma.$transaction(async (tx) => {
      const order = await tx.order.create({ data: { customer: 'Ida' } });
      await enqueue(tx, 'shop', 'Ida', { order: Number(order.id) });
      await tx.$executeRaw`INSERT INTO shop_lines (order_id) VALUES (LAST_INSERT_ID())`;
      const line = await tx.line.findFirstOrThrow({ orderBy: { id: 'desc' } });
      return { order: order.id, line_order: line.orderId };
    });
  },
});
await prisma.$disconnect();
