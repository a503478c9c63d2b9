package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// TestPredictTopic predicts a topic, whose records may have line breaks: the output has one line for each.
func TestPredictTopic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broker, err := devbroker.Start(t.Context(), devbroker.Options{Dir: filepath.Join(dir, "broker"), Addr: "127.0.0.1:0", Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close() //nolint:errcheck // the test is over
	if err := broker.CreateTopic("flats", 1, nil); err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	rows.WriteString("size,rent\n")
	for i := range 60 {
		fmt.Fprintf(&rows, "%d,%d\n", 20+i%30, 200+i%30*8)
	}
	file := filepath.Join(dir, "pipeline.yaml")
	text := "version: 1\nname: flats\nkafka: {brokers: \"" + broker.Addr() + "\"}\nschema: {numeric: [size, rent]}\nsource: {topic: flats}\n" +
		"train: {data: flats.csv, label: rent, gbm: {ntrees: 2}}\nsink: {topic: out}\ndead_letter: {topic: dlq}\n"
	for name, text := range map[string]string{file: text, filepath.Join(dir, "flats.csv"): rows.String()} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := &App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Version: "test", Env: func(string) (string, bool) { return "", false }}
	if _, err := a.Train(t.Context(), TrainOptions{File: file, By: "ada"}); err != nil {
		t.Fatal(err)
	}
	sendFlats(t, broker.Addr(), "{\n  \"size\": 20,\r\n  \"note\": \"a\\nb\"\n}", "", "{\"size\": 21}")
	var out, stdout bytes.Buffer
	rejects := filepath.Join(dir, "rejects")
	o := PredictOptions{File: file, Model: "@candidate", Data: "topic://flats", Out: "-", Stdout: &out, Rejects: rejects}
	p, err := a.Predict(t.Context(), o)
	if err != nil || p.Predictions != 2 || p.Classes["null_value"] != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	want := regexp.MustCompile(`^\{   "size": 20,    "note": "a\\nb" ,"prediction":[0-9.]+\}\n\{"size": 21,"prediction":[0-9.]+\}\n$`)
	if !want.Match(out.Bytes()) {
		t.Errorf("got %q\nwant %s", out.String(), want)
	}
	list, err := os.ReadFile(rejects)
	if err != nil || !strings.HasPrefix(string(list), `{"record":1,"partition":0,"offset":1,"stage":"decode","class":"null_value"`) {
		t.Errorf("rejects %s, %v", list, err)
	}
	o.Data, o.Stdout = "topic://nothing", &stdout
	_, err = a.Predict(t.Context(), o)
	if code, hint := Explain(err); code != Usage || hint == "" {
		t.Errorf("unknown topic: %d, %q, %v", code, hint, err)
	}
}

// sendFlats writes values to the topic flats; "" is Kafka's null.
func sendFlats(t *testing.T, addr string, values ...string) {
	t.Helper()
	client, err := kafka.New(kafka.Config{Brokers: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	producer, err := client.NewProducer(kafka.ProducerConfig{Topic: "flats"})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for _, value := range values {
		r := record.Raw{Key: []byte("k"), Timestamp: -1}
		if value != "" {
			r.Value = []byte(value)
		}
		if err := producer.Send(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}
