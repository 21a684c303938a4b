// GORM on its MySQL driver.
package main

import (
	"errors"
	"fmt"

	"gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"outboxd/clients/shop"
)

// docs:begin

// Order is an order.
type Order struct {
	ID       int64
	Customer string
}

// TableName says where it is.
func (Order) TableName() string { return "shop_orders" }

// Enqueue puts a message into the outbox, in the transaction tx, and returns its id.
func Enqueue(tx *gorm.DB, topic, key, payload string, options any) (id uint64, err error) {
	call := "CALL outbox_enqueue_returning_v1('shop.order', ?, ?, ?, ?)"
	return id, tx.Raw(call, topic, key, payload, options).Scan(&id).Error
}

// PlaceOrder stores an order and tells Kafka of it: both, or neither.
func PlaceOrder(db *gorm.DB, customer string) (message uint64, err error) {
	err = db.Transaction(func(tx *gorm.DB) error {
		order := Order{Customer: customer}
		if err := tx.Create(&order).Error; err != nil {
			return err
		}
		message, err = Enqueue(tx, "shop", customer, fmt.Sprintf(`{"order":%d}`, order.ID), nil)
		return err
	})
	return message, err
}

// docs:end

// Line is a line of an order.
type Line struct {
	ID      int64
	OrderID int64
}

// TableName says where it is.
func (Line) TableName() string { return "shop_lines" }

func open(config gorm.Config) *gorm.DB {
	config.Logger = logger.Discard
	db, err := gorm.Open(mysql.Open(shop.DSN()), &config)
	if err != nil {
		panic(err)
	}
	return db
}

// enqueue enqueues in a transaction of its own.
func enqueue(db *gorm.DB, topic, key, payload string, options any) (id uint64, err error) {
	err = db.Transaction(func(tx *gorm.DB) error {
		id, err = Enqueue(tx, topic, key, payload, options)
		return err
	})
	return id, err
}

func main() {
	db := open(gorm.Config{})
	id, err := PlaceOrder(db, "Ada")
	shop.Report("commit", shop.Found{"id": id}, err)

	enough := errors.New("enough")
	err = db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&Order{Customer: "Bob"}).Error; err != nil {
			return err
		}
		if id, err = Enqueue(tx, "shop", "Bob", "{}", nil); err != nil {
			return err
		}
		return enough
	})
	if errors.Is(err, enough) {
		err = nil
	}
	shop.Report("rollback", shop.Found{"id": id}, err)

	var enqueued int
	err = db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&Order{Customer: "Cleo"}).Error; err != nil {
			return err
		}
		// GORM takes @enqueued for a parameter of its own where there are named ones; with ? it does not.
		if err := tx.Exec("CALL outbox_enqueue_batch_v1(?, @enqueued)", shop.Three).Error; err != nil {
			return err
		}
		return tx.Raw("SELECT @enqueued").Scan(&enqueued).Error
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

	prepared := open(gorm.Config{PrepareStmt: true})
	ids := make([]uint64, 3)
	for number := range ids {
		if err = nil; err == nil {
			ids[number], err = Enqueue(prepared, "shop", "Gus", fmt.Sprintf(`{"order":%d}`, number), nil)
		}
	}
	shop.Report("prepared", shop.Found{"ids": ids}, err)

	pool := open(gorm.Config{})
	connections, _ := pool.DB()
	connections.SetMaxOpenConns(1)
	first, err = enqueue(pool, "shop", "Hal", "{}", nil)
	if err == nil {
		if _, refused := enqueue(pool, "", "Hal", "{}", nil); refused == nil {
			panic("not refused")
		}
		id, err = enqueue(pool, "shop", "Hal", "{}", nil)
	}
	shop.Report("pool", shop.Found{"ids": []uint64{first, id}}, err)

	order, line := Order{Customer: "Ida"}, Line{}
	err = db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&order).Error; err != nil {
			return err
		}
		if _, err := Enqueue(tx, "shop", "Ida", "{}", nil); err != nil {
			return err
		}
		if err := tx.Exec("INSERT INTO shop_lines (order_id) VALUES (LAST_INSERT_ID())").Error; err != nil {
			return err
		}
		return tx.Take(&line).Error
	})
	shop.Report("last_insert_id", shop.Found{"order": order.ID, "line_order": line.OrderID}, err)
}
