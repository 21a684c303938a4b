# frozen_string_literal: true

# The gem mysql2.

require "digest"
require "json"
require "mysql2"

def connect
  Mysql2::Client.new(
    host: ENV.fetch("SHOP_HOST"), port: Integer(ENV.fetch("SHOP_PORT")), database: ENV.fetch("SHOP_DATABASE"),
    username: ENV.fetch("SHOP_USER"), password: ENV.fetch("SHOP_PASSWORD"), encoding: "utf8mb4"
  )
end

# docs:begin
def enqueue(db, topic, key, payload, options = {})
  call = db.prepare("CALL outbox_enqueue_returning_v1(?, ?, ?, ?, ?)")
  id = call.execute("shop.order", topic, key, payload.to_json, options.to_json).first["id"]
  db.abandon_results! # a CALL sends its status after the rows: without this the next statement fails
  call.close
  id
end

def transaction(db)
  db.query("BEGIN")
  result = yield
  db.query("COMMIT")
  result
rescue StandardError
  db.query("ROLLBACK")
  raise
end

def place_order(db, customer)
  transaction(db) do
    order = add_order(db, customer)
    enqueue(db, "shop", customer, { order: order })
  end
end

def add_order(db, customer)
  insert = db.prepare("INSERT INTO shop_orders (customer) VALUES (?)")
  insert.execute(customer)
  insert.last_id
end
# docs:end

def report(name, **found)
  puts JSON.generate({ case: name, **found })
end

db = connect

begin
  place_order(db, "") # no message without a key
  abort "it was not refused"
rescue Mysql2::Error => e
  raise unless e.error_number == 30_001
end
report "commit", id: place_order(db, "Ada")

db.query("BEGIN")
add_order(db, "Bob")
id = enqueue(db, "shop", "Bob", { order: 1 })
db.query("ROLLBACK")
report "rollback", id: id

enqueued = transaction(db) do
  add_order(db, "Cleo")
  messages = [1, 2, 3].map { |order| { biz_type: "shop.order", topic: "shop", key: "Cleo", payload: { order: order } } }
  db.prepare("CALL outbox_enqueue_batch_v1(?, @enqueued)").execute(messages.to_json)
  db.query("SELECT @enqueued AS enqueued").first["enqueued"]
end
report "batch", enqueued: enqueued

ids = Array.new(2) do
  transaction(db) { enqueue(db, "shop", "Dora", { order: 1 }, { dedup_key: "order 1" }) }
end
report "dedup", ids: ids

large = { text: "Zoë 🛒 \"quoted\" \\ ' ? :name \n" * 32_000 }
id = transaction(db) { enqueue(db, "shop", "Eve", large) }
report "large", id: id, sha256: Digest::SHA256.hexdigest(large.to_json)

begin
  transaction(db) { enqueue(db, "", "Finn", {}) }
  report "refused"
rescue Mysql2::Error => e
  report "refused", errno: e.error_number, message: e.message
end

call = db.prepare("CALL outbox_enqueue_returning_v1('shop.order', 'shop', 'Gus', ?, NULL)")
ids = [1, 2, 3].map do |order|
  id = call.execute({ order: order }.to_json).first["id"]
  db.abandon_results!
  id
end
report "prepared", ids: ids

# A pool of one connection.
pool = Thread::Queue.new([connect])
ids = ["shop", "", "shop"].filter_map do |topic|
  lent = pool.pop
  enqueue(lent, topic, "Hal", {})
rescue Mysql2::Error
  raise unless topic.empty?
ensure
  pool << lent
end
report "pool", ids: ids

found = transaction(db) do
  order = add_order(db, "Ida")
  enqueue(db, "shop", "Ida", { order: order })
  db.query("INSERT INTO shop_lines (order_id) VALUES (LAST_INSERT_ID())")
  line = db.query("SELECT order_id FROM shop_lines WHERE id = LAST_INSERT_ID()").first
  { order: order, line_order: line["order_id"] }
end
report "last_insert_id", **found
