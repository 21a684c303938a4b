// Package shop is what the programs share: the cases, and how they are reported.
package shop

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Large is a payload of more than 1 MiB, with what a driver that writes the values into the statement could get wrong.
var Large = mustJSON(map[string]string{"text": strings.Repeat("🎉 \" \\ ' ? ", 90_000)})

// Three is the argument of outbox_enqueue_batch_v1: three messages of Cleo's.
var Three = mustJSON([]map[string]any{element(1), element(2), element(3)})

func element(order int) map[string]any {
	return map[string]any{"biz_type": "shop.order", "topic": "shop", "key": "Cleo", "payload": map[string]int{"order": order}}
}

func mustJSON(value any) string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return strings.TrimSpace(text.String())
}

// DSN is how to connect, with the account that the environment names.
func DSN() string {
	config := mysql.NewConfig()
	config.Net = "tcp"
	config.Addr = os.Getenv("SHOP_HOST") + ":" + os.Getenv("SHOP_PORT")
	config.User = os.Getenv("SHOP_USER")
	config.Passwd = os.Getenv("SHOP_PASSWORD")
	config.DBName = os.Getenv("SHOP_DATABASE")
	return config.FormatDSN()
}

// Found is what a case has given.
type Found map[string]any

// Report prints a case; it ends the program where the case failed.
func Report(name string, found Found, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	found["case"] = name
	fmt.Println(mustJSON(found))
}

// Sum is the checksum of a payload.
func Sum(payload string) string {
	sum := sha256.Sum256([]byte(payload))
	return hex.EncodeToString(sum[:])
}

// Refused reports why a call was refused.
func Refused(err error) {
	var refused *mysql.MySQLError
	if !errors.As(err, &refused) {
		Report("refused", nil, fmt.Errorf("not refused: %w", err))
	}
	Report("refused", Found{"errno": refused.Number, "message": refused.Message}, nil)
}
