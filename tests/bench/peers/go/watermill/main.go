// Watermill's forwarder: from its SQL subscriber, `queue` or `pubsub`, to its Kafka publisher.
// `enqueue N` says instead what its publisher costs an application.
package main

import (
	"context"
	stdsql "database/sql"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	_ "github.com/go-sql-driver/mysql"
)

const (
	table = "outbox"
	pause = 5 * time.Millisecond
)

var logger = watermill.NewStdLoggerWithOut(os.Stderr, false, false)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	db, err := stdsql.Open("mysql", fmt.Sprintf("root@tcp(%s:%s)/%s?parseTime=true",
		os.Getenv("PEER_MYSQL_HOST"), os.Getenv("PEER_MYSQL_PORT"), os.Getenv("PEER_DATABASE")))
	check(err)
	defer db.Close()
	var schema sql.SchemaAdapter = sql.DefaultMySQLSchema{}
	var offsets sql.OffsetsAdapter = sql.DefaultMySQLOffsetsAdapter{}
	if os.Args[1] == "queue" {
		schema, offsets = sql.MySQLQueueSchema{}, sql.MySQLQueueOffsetsAdapter{DeleteOnAck: true}
	}
	subscriber, err := sql.NewSubscriber(sql.BeginnerFromStdSQL(db), sql.SubscriberConfig{
		PollInterval: pause, RetryInterval: pause, SchemaAdapter: schema, OffsetsAdapter: offsets, InitializeSchema: true,
	}, logger)
	check(err)
	switch os.Args[2] {
	case "install":
		check(subscriber.SubscribeInitialize(table))
	case "enqueue":
		messages, err := strconv.Atoi(os.Args[3])
		check(err)
		check(json.NewEncoder(os.Stdout).Encode(map[string]float64{
			"in_1": enqueue(ctx, db, schema, messages, 1), "in_100": enqueue(ctx, db, schema, messages, 100),
		}))
	case "relay":
		relay(ctx, subscriber)
	}
}

func relay(ctx context.Context, subscriber message.Subscriber) {
	byKey := func(_ string, m *message.Message) (string, error) { return m.Metadata.Get("key"), nil }
	publisher, err := kafka.NewPublisher(kafka.PublisherConfig{
		Brokers: []string{os.Getenv("PEER_KAFKA")}, Marshaler: kafka.NewWithPartitioningMarshaler(byKey),
	}, logger)
	check(err)
	defer publisher.Close()
	config := forwarder.Config{ForwarderTopic: table, CloseTimeout: 5 * time.Second}
	forward, err := forwarder.NewForwarder(subscriber, publisher, logger, config)
	check(err)
	go func() { // as the library asks: the router ends what is under way
		<-ctx.Done()
		forward.Close()
	}()
	check(forward.Run(context.Background()))
}

// Microseconds a message, the median of transactions of so many; they are committed.
func enqueue(ctx context.Context, db *stdsql.DB, schema sql.SchemaAdapter, messages, size int) float64 {
	var took []float64
	payload := []byte(os.Getenv("PEER_PAYLOAD"))
	for done := 0; done < messages; done += size {
		began := time.Now()
		tx, err := db.BeginTx(ctx, nil)
		check(err)
		into, err := sql.NewPublisher(sql.TxFromStdSQL(tx), sql.PublisherConfig{SchemaAdapter: schema}, logger)
		check(err)
		publisher := forwarder.NewPublisher(into, forwarder.PublisherConfig{ForwarderTopic: table})
		some := make([]*message.Message, size)
		for place := range some {
			some[place] = message.NewMessage(watermill.NewUUID(), payload)
			some[place].Metadata.Set("key", strconv.Itoa(done+place))
		}
		check(publisher.Publish(os.Getenv("PEER_TOPIC"), some...))
		check(tx.Commit())
		took = append(took, float64(time.Since(began).Microseconds())/float64(size))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
