/** TypeORM on mysql2. */
import assert from 'node:assert/strict';

import { DataSource, EntitySchema } from 'typeorm';

import { large, run, sha256, shop, threeMessages } from './shop.js';

const id = { type: 'bigint', unsigned: true, primary: true, generated: 'increment' };
const Order = new EntitySchema({
  name: 'Order',
  tableName: 'shop_orders',
  columns: { id, customer: { type: 'varchar' } },
});
const Line = new EntitySchema({
  name: 'Line',
  tableName: 'shop_lines',
  columns: { id, orderId: { name: 'order_id', type: 'bigint', unsigned: true } },
});

async function connect(options = {}) {
  const { user: username, ...address } = shop;
  return new DataSource({ type: 'mysql', ...address, username, entities: [Order, Line], ...options }).initialize();
}

const db = await connect();

// docs:begin
async function enqueue(manager, topic, key, payload, options = {}) {
  // The first row of the first result set. TypeORM returns a BIGINT as a string.
  const [[{ id }]] = await manager.query('CALL outbox_enqueue_returning_v1(?, ?, ?, ?, ?)', [
    'shop.order', topic, key, JSON.stringify(payload), JSON.stringify(options),
  ]);
  return id;
}

async function placeOrder(customer) {
  return db.transaction(async (manager) => {
    const order = await manager.save(Order, { customer });
    return enqueue(manager, 'shop', customer, { order: order.id });
  });
}
// docs:end

await run({
  async commit() {
    await assert.rejects(placeOrder(''), { errno: 30001 }); // no message without a key
    return { id: await placeOrder('Ada') };
  },

  async rollback() {
    const runner = db.createQueryRunner();
    await runner.startTransaction();
    await runner.manager.save(Order, { customer: 'Bob' });
    const id = await enqueue(runner.manager, 'shop', 'Bob', { order: 1 });
    await runner.rollbackTransaction();
    await runner.release();
    return { id };
  },

  async batch() {
    return db.transaction(async (manager) => {
      await manager.save(Order, { customer: 'Cleo' });
      await manager.query('CALL outbox_enqueue_batch_v1(?, @enqueued)', [threeMessages('Cleo')]);
      const [{ enqueued }] = await manager.query('SELECT @enqueued AS enqueued');
      return { enqueued: Number(enqueued) };
    });
  },

  async dedup() {
    const once = (manager) => enqueue(manager, 'shop', 'Dora', { order: 1 }, { dedup_key: 'order 1' });
    return { ids: [await db.transaction(once), await db.transaction(once)] };
  },

  async large() {
    return { id: await db.transaction((manager) => enqueue(manager, 'shop', 'Eve', large)), sha256: sha256(large) };
  },

  async refused() {
    try {
      return { id: await db.transaction((manager) => enqueue(manager, '', 'Finn', {})) };
    } catch ({ errno, message }) {
      return { errno, message };
    }
  },

  async prepared() {
    // TypeORM has no prepared statements on MySQL: mysql2 writes the values into the text.
    const ids = [];
    for (const order of [1, 2, 3]) ids.push(await enqueue(db.manager, 'shop', 'Gus', { order }));
    return { ids };
  },

  async pool() {
    const single = await connect({ poolSize: 1 });
    const first = await enqueue(single.manager, 'shop', 'Hal', {});
    await assert.rejects(enqueue(single.manager, '', 'Hal', {}), { errno: 30001 });
    const second = await enqueue(single.manager, 'shop', 'Hal', {});
    await single.destroy();
    return { ids: [first, second] };
  },

  async last_insert_id() {
    return db.transaction(async (manager) => {
      const order = await manager.save(Order, { customer: 'Ida' });
      await enqueue(manager, 'shop', 'Ida', { order: order.id });
      const line = await manager.query('INSERT INTO shop_lines (order_id) VALUES (LAST_INSERT_ID())');
      const { orderId } = await manager.findOneByOrFail(Line, { id: line.insertId });
      return { order: order.id, line_order: orderId };
    });
  },
});
await db.destroy();
