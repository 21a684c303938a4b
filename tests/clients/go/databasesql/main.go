// database/sql with go-sql-driver/mysql.
package main

import (
	"context"
	"database/sql"
	"fmt"

	"outboxd/clients/shop"
)

// docs:begin

// Enqueue puts a message into the outbox, in the transaction tx, and returns its id.
func Enqueue(ctx context.Context, tx *sql.Tx, topic, key, payload string, options any) (id uint64, err error) {
	// QueryRow reads to the end of all results, the status of the CALL included.
	row := tx.QueryRowContext(ctx, "CALL outbox_enqueue_returning_v1('shop.order', ?, ?, ?, ?)", topic, key, payload, options)
	return id, row.Scan(&id)
}

// PlaceOrder stores an order and tells Kafka of it: both, or neither.
func PlaceOrder(ctx context.Context, db *sql.DB, customer string) (message uint64, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // nothing, after the commit
	stored, err := tx.ExecContext(ctx, "INSERT INTO shop_orders (customer) VALUES (?)", customer)
	if err != nil {
		return 0, err
	}
	order, _ := stored.LastInsertId()
	if message, err = Enqueue(ctx, tx, "shop", customer, fmt.Sprintf(`{"order":%d}`, order), nil); err != nil {
		return 0, err
	}
	return message, tx.Commit()
}

// docs:end

var ctx = context.Background()

// within runs work in a transaction, which it commits unless work fails.
func within[T any](db *sql.DB, work func(*sql.Tx) (T, error)) (result T, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return result, err
	}
	defer tx.Rollback()
	if result, err = work(tx); err != nil {
		return result, err
	}
	return result, tx.Commit()
}

// enqueue enqueues in a transaction of its own.
func enqueue(db *sql.DB, topic, key, payload string, options any) (uint64, error) {
	return within(db, func(tx *sql.Tx) (uint64, error) { return Enqueue(ctx, tx, topic, key, payload, options) })
}

func main() {
	db, err := sql.Open("mysql", shop.DSN())
	if err != nil {
		panic(err)
	}
	id, err := PlaceOrder(ctx, db, "Ada")
	shop.Report("commit", shop.Found{"id": id}, err)

	tx, _ := db.BeginTx(ctx, nil)
	_, err = tx.Exec("INSERT INTO shop_orders (customer) VALUES ('Bob')")
	if err == nil {
		id, err = Enqueue(ctx, tx, "shop", "Bob", "{}", nil)
	}
	tx.Rollback()
	shop.Report("rollback", shop.Found{"id": id}, err)

	enqueued, err := within(db, func(tx *sql.Tx) (enqueued int, err error) {
		if _, err = tx.Exec("INSERT INTO shop_orders (customer) VALUES ('Cleo')"); err == nil {
			if _, err = tx.Exec("CALL outbox_enqueue_batch_v1(?, @enqueued)", shop.Three); err == nil {
				err = tx.QueryRow("SELECT @enqueued").Scan(&enqueued)
			}
		}
		return enqueued, err
	})
	shop.Report("batch", shop.Found{"enqueued": enqueued}, err)

	first, err := enqueue(db, "shop", "Dora", "{}", `{"dedup_key":"order 1"}`)
	if err == nil {
		id, err = enqueue(db, "shop", "Dora", "{}", `{"dedup_key":"order 1"}`)
	}
	shop.Report("dedup", shop.Found{"ids": []uint64{first, id}}, err)

	id, err = enqueue(db, "shop", "Eve", shop.Large, nil)
	shop.Report("large", shop.Found{"id": id, "sha256": shop.Sum(shop.Large)}, err)

	_, err = enqueue(db, "", "Fay", "{}", nil)
	shop.Refused(err)

	call, err := db.Prepare("CALL outbox_enqueue_returning_v1('shop.order', 'shop', 'Gus', ?, NULL)")
	ids := make([]uint64, 3)
	for number := range ids {
		if err == nil {
			err = call.QueryRow(fmt.Sprintf(`{"order":%d}`, number)).Scan(&ids[number])
		}
	}
	shop.Report("prepared", shop.Found{"ids": ids}, err)

	pool, _ := sql.Open("mysql", shop.DSN())
	pool.SetMaxOpenConns(1)
	first, err = enqueue(pool, "shop", "Hal", "{}", nil)
	if err == nil {
		if _, refused := enqueue(pool, "", "Hal", "{}", nil); refused == nil {
			panic("not refused")
		}
		id, err = enqueue(pool, "shop", "Hal", "{}", nil)
	}
	shop.Report("pool", shop.Found{"ids": []uint64{first, id}}, err)

	var order, line int64
	_, err = within(db, func(tx *sql.Tx) (any, error) {
		stored, err := tx.Exec("INSERT INTO shop_orders (customer) VALUES ('Ida')")
		if err == nil {
			order, _ = stored.LastInsertId()
			if _, err = Enqueue(ctx, tx, "shop", "Ida", "{}", nil); err == nil {
				if _, err = tx.Exec("INSERT INTO shop_lines (order_id) VALUES (LAST_INSERT_ID())"); err == nil {
					err = tx.QueryRow("SELECT order_id FROM shop_lines").Scan(&line)
				}
			}
		}
		return nil, err
	})
	shop.Report("last_insert_id", shop.Found{"order": order, "line_order": line}, err)
}
