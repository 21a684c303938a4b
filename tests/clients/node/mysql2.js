/** mysql2 with promises. */
import assert from 'node:assert/strict';

import mysql from 'mysql2/promise';

import { large, run, sha256, shop, threeMessages } from './shop.js';

const pool = mysql.createPool(shop);

// docs:begin
async function enqueue(connection, topic, key, payload, options = {}) {
  // The first row of the first result set; execute() returns [results, fields].
  const [[[{ id }]]] = await connection.execute('CALL outbox_enqueue_returning_v1(?, ?, ?, ?, ?)', [
    'shop.order', topic, key, JSON.stringify(payload), JSON.stringify(options),
  ]);
  return id;
}

async function placeOrder(connection, customer) {
  await connection.beginTransaction();
  try {
    const [order] = await connection.execute('INSERT INTO shop_orders (customer) VALUES (?)', [customer]);
    const id = await enqueue(connection, 'shop', customer, { order: order.insertId });
    await connection.commit();
    return id;
  } catch (error) {
    await connection.rollback();
    throw error;
  }
}
// docs:end

async function addOrder(connection, customer) {
  const [order] = await connection.execute('INSERT INTO shop_orders (customer) VALUES (?)', [customer]);
  return order.insertId;
}

async function withConnection(lender, work) {
  const connection = await lender.getConnection();
  try {
    return await work(connection);
  } finally {
    connection.release();
  }
}

async function transaction(work) {
  return withConnection(pool, async (connection) => {
    await connection.beginTransaction();
    try {
      const result = await work(connection);
      await connection.commit();
      return result;
    } catch (error) {
      await connection.rollback();
      throw error;
    }
  });
}

await run({
  async commit() {
    const order = (customer) => withConnection(pool, (connection) => placeOrder(connection, customer));
    await assert.rejects(order(''), { errno: 30001 }); // no message without a key
    return { id: await order('Ada') };
  },

  async rollback() {
    return withConnection(pool, async (connection) => {
      await connection.beginTransaction();
      await addOrder(connection, 'Bob');
      const id = await enqueue(connection, 'shop', 'Bob', { order: 1 });
      await connection.rollback();
      return { id };
    });
  },

  async batch() {
    return transaction(async (connection) => {
      await addOrder(connection, 'Cleo');
      await connection.execute('CALL outbox_enqueue_batch_v1(?, @enqueued)', [threeMessages('Cleo')]);
      const [[{ enqueued }]] = await connection.query('SELECT @enqueued AS enqueued');
      return { enqueued };
    });
  },

  async dedup() {
    const once = (connection) => enqueue(connection, 'shop', 'Dora', { order: 1 }, { dedup_key: 'order 1' });
    return { ids: [await transaction(once), await transaction(once)] };
  },

  async large() {
    return { id: await transaction((connection) => enqueue(connection, 'shop', 'Eve', large)), sha256: sha256(large) };
  },

  async refused() {
    try {
      return { id: await transaction((connection) => enqueue(connection, '', 'Finn', {})) };
    } catch ({ errno, message }) {
      return { errno, message };
    }
  },

  async prepared() {
    // execute() prepares a statement once in each connection and keeps it.
    return withConnection(pool, async (connection) => {
      const ids = [];
      for (const order of [1, 2, 3]) ids.push(await enqueue(connection, 'shop', 'Gus', { order }));
      return { ids };
    });
  },

  async pool() {
    const single = mysql.createPool({ ...shop, connectionLimit: 1 });
    const call = (topic) => withConnection(single, (connection) => enqueue(connection, topic, 'Hal', {}));
    const first = await call('shop');
    await assert.rejects(call(''), { errno: 30001 });
    const second = await call('shop');
    await single.end();
    return { ids: [first, second] };
  },

  async last_insert_id() {
    return transaction(async (connection) => {
      const order = await addOrder(connection, 'Ida');
      await enqueue(connection, 'shop', 'Ida', { order });
      const [line] = await connection.execute('INSERT INTO shop_lines (order_id) VALUES (LAST_INSERT_ID())');
      const lookup = 'SELECT order_id FROM shop_lines WHERE id = ?';
      const [[{ order_id }]] = await connection.execute(lookup, [line.insertId]);
      return { order, line_order: order_id };
    });
  },
});
await pool.end();
