// A consumer without outboxd: franz-go, and database/sql for a store of its own.
package main

import (
	"context"
	"database/sql"
	"log"
	"os"

	"github.com/go-sql-driver/mysql"
	"github.com/twmb/franz-go/pkg/kgo"
)

// docs:begin

// Consume applies each message once: it commits the effect together with the fact that it was applied, then the offset.
func Consume(ctx context.Context, client *kgo.Client, store *sql.DB) error {
	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, record := range fetches.Records() {
			headers := map[string]string{}
			for _, header := range record.Headers {
				headers[header.Key] = string(header.Value)
			}
			if err := Apply(ctx, store, headers, string(record.Key)); err != nil {
				return err
			}
			client.MarkCommitRecords(record)
		}
	}
}

// Apply has the effect of a message, unless it has had it: source and id say which message it is.
func Apply(ctx context.Context, store *sql.DB, headers map[string]string, key string) error {
	tx, err := store.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing, after the commit
	source, event := headers["ce_source"], headers["ce_id"]
	inserted, err := tx.ExecContext(ctx, "INSERT IGNORE INTO inbox (source, id) VALUES (?, ?)", source, event)
	if err != nil {
		return err
	}
	if isNew, _ := inserted.RowsAffected(); isNew == 1 {
		if _, err := tx.ExecContext(ctx, "INSERT INTO effects (message, message_key) VALUES (?, ?)", event, key); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// docs:end

func main() {
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", os.Getenv("MYSQL_HOST")+":"+os.Getenv("MYSQL_PORT")
	config.User, config.DBName = os.Getenv("MYSQL_USER"), os.Getenv("MYSQL_DATABASE")
	store, err := sql.Open("mysql", config.FormatDSN())
	if err != nil {
		log.Fatal(err)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("BOOTSTRAP")),
		kgo.ConsumerGroup(os.Getenv("GROUP")),
		kgo.ConsumeTopics(os.Getenv("TOPIC")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitMarks(),
	)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(Consume(context.Background(), client, store))
}
