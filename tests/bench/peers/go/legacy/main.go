// The legacy way, row at a time: `relay` polls, produces and marks; `consume` persists record by record.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	polled = 100
	pause  = 5 * time.Millisecond
)

type message struct {
	id                  uint64
	topic, key, payload string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	db, err := sql.Open("mysql", fmt.Sprintf("root@tcp(%s:%s)/%s?interpolateParams=true",
		os.Getenv("PEER_MYSQL_HOST"), os.Getenv("PEER_MYSQL_PORT"), os.Getenv("PEER_DATABASE")))
	check(ctx, err)
	defer db.Close()
	work := map[string]func(context.Context, *sql.DB) error{"relay": relay, "consume": consume}[os.Args[1]]
	check(ctx, work(ctx, db))
}

func relay(ctx context.Context, db *sql.DB) error {
	producer, err := kgo.NewClient(kgo.SeedBrokers(os.Getenv("PEER_KAFKA")), kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	defer producer.Close()
	for ctx.Err() == nil {
		messages, err := due(ctx, db)
		if err != nil {
			return err
		}
		for _, m := range messages {
			record := &kgo.Record{Topic: m.topic, Key: []byte(m.key), Value: []byte(m.payload),
				Headers: []kgo.RecordHeader{{Key: "id", Value: strconv.AppendUint(nil, m.id, 10)}}}
			if err := producer.ProduceSync(ctx, record).FirstErr(); err != nil {
				return err
			}
			if _, err := db.ExecContext(ctx, `UPDATE outbox SET status = 'published', next_retry_at = NULL,
				published_at = UTC_TIMESTAMP(6) WHERE id = ? AND status = 'pending'`, m.id); err != nil {
				return err
			}
		}
		if len(messages) == 0 {
			time.Sleep(pause)
		}
	}
	return nil
}

func due(ctx context.Context, db *sql.DB) (messages []message, err error) {
	rows, err := db.QueryContext(ctx, `SELECT id, topic, message_key, payload FROM outbox
		WHERE status = 'pending' AND next_retry_at <= UTC_TIMESTAMP(6) ORDER BY next_retry_at, id LIMIT ?`, polled)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m message
		if err := rows.Scan(&m.id, &m.topic, &m.key, &m.payload); err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, rows.Err()
}

func consume(ctx context.Context, db *sql.DB) error {
	topic := os.Getenv("PEER_TOPIC")
	consumer, err := kgo.NewClient(kgo.SeedBrokers(os.Getenv("PEER_KAFKA")), kgo.ConsumerGroup(topic),
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitMarks())
	if err != nil {
		return err
	}
	defer consumer.Close()
	for ctx.Err() == nil {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, record := range fetches.Records() {
			if err := persist(ctx, db, record); err != nil {
				return err
			}
			consumer.MarkCommitRecords(record)
		}
	}
	return nil
}

// The row and the mark are one transaction, and only a message that is not consumed yet has a row made.
func persist(ctx context.Context, db *sql.DB, record *kgo.Record) error {
	var chat struct {
		UserID         int64  `json:"user_id"`
		ConversationID string `json:"conversation_id"`
		Role           string `json:"role"`
		Message        string `json:"message"`
	}
	if err := json.Unmarshal(record.Value, &chat); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	id := string(record.Headers[0].Value)
	var status string
	if err := tx.QueryRowContext(ctx, "SELECT status FROM outbox WHERE id = ? FOR UPDATE", id).Scan(&status); err != nil {
		return err
	}
	if status == "consumed" {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO chat_histories (user_id, chat_id, role, message_content, created_at)
		VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6))`, chat.UserID, chat.ConversationID, chat.Role, chat.Message); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE outbox SET status = 'consumed', next_retry_at = NULL,
		consumed_at = UTC_TIMESTAMP(6) WHERE id = ?`, id); err != nil {
		return err
	}
	return tx.Commit()
}

func check(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}
