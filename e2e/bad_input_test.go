//go:build unix

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
	"millrace.dev/internal/house"
)

// canary stands in records wherever a value can: nothing that is written about a record may hold it.
const (
	canary       = "canary7f3a"
	canaryNumber = "31415926535"
)

// badRecord is a record that is odd in some way, and what has to become of it.
type badRecord struct {
	name       string
	value      []byte
	key        []byte // nil is none
	headers    []kgo.RecordHeader
	timestamp  time.Time // zero is now
	prediction bool
	// Of a dead letter.
	stage, class, field string
	pointer             string // which of the record's value, key and headers are left out, as in "value key"
	// Of a prediction, by model input.
	missing, unseen []string
}

const mebibyte = 1 << 20

// badRecords returns the records of the test with the default limits. valid is a listing that is right.
func badRecords(valid []byte) []badRecord {
	letter := func(name string, value []byte, class, field string) badRecord {
		return badRecord{name: name, key: []byte(name), value: value, stage: "decode", class: class, field: field}
	}
	set := func(field, text string) []byte {
		re := regexp.MustCompile(`"` + field + `": ("[^"]*"|[0-9.]+)`)
		return re.ReplaceAllLiteral(valid, []byte(`"`+field+`": `+text))
	}
	add := func(text string) []byte { return append(bytes.Clone(valid[:len(valid)-1]), text+"}"...) }
	fault := func(f house.Fault) []byte { return f.Break(valid) }
	predicted := func(name string, value []byte) badRecord {
		return badRecord{name: name, key: []byte(name), value: value, prediction: true}
	}
	with := func(r badRecord, change func(*badRecord)) badRecord {
		change(&r)
		return r
	}
	area := []string{"sqft_lot", "living_share"}
	deep := strings.Repeat(`[`, 99) + strings.Repeat(`]`, 99)
	return []badRecord{
		predicted("intact", valid),
		with(predicted("null key", valid), func(r *badRecord) { r.key = nil }),
		with(predicted("empty key", valid), func(r *badRecord) { r.key = []byte{} }),
		with(predicted("headers", valid), func(r *badRecord) {
			r.headers = []kgo.RecordHeader{{Key: "trace", Value: []byte{0, 255}}, {Key: "millrace.source", Value: []byte("elsewhere/0/0")}, {Key: "null"}}
		}),
		with(predicted("from the year 2100", valid), func(r *badRecord) { r.timestamp = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }),
		with(predicted("from the year 1970", valid), func(r *badRecord) { r.timestamp = time.UnixMilli(1) }),

		letter("invalid json", fault(house.InvalidJSON), "invalid_json", ""),
		letter("truncated", valid[:len(valid)-1], "invalid_json", ""),
		letter("truncated in a value", valid[:bytes.Index(valid, []byte(`"floors": `))+len(`"floors": `)], "invalid_json", "floors"),
		letter("text", []byte(canary), "invalid_json", ""),
		letter("trailing bytes", append(bytes.Clone(valid), canary...), "trailing_bytes", ""),
		letter("two objects", append(bytes.Clone(valid), valid...), "trailing_bytes", ""),
		letter("array", []byte(`["`+canary+`"]`), "not_object", ""),
		letter("json null", []byte("null"), "not_object", ""),
		letter("no declared field", []byte(`{"`+canary+`": 1}`), "no_fields", ""),
		letter("empty object", []byte(`{}`), "no_fields", ""),
		letter("empty value", []byte{}, "invalid_json", ""),
		letter("blank value", []byte(" \n"), "invalid_json", ""),
		letter("null value", nil, "null_value", ""),

		letter("object for a number", fault(house.WrongType), "wrong_type", "sqft_living"),
		letter("text for a number", set("sqft_living", `"`+canary+`"`), "wrong_type", "sqft_living"),
		letter("quoted number", set("sqft_living", `"`+canaryNumber+`"`), "wrong_type", "sqft_living"),
		letter("boolean for a number", set("sqft_lot", "true"), "wrong_type", "sqft_lot"),
		letter("number for a text", set("street", canaryNumber), "wrong_type", "street"),
		letter("array for an enum", set("city", `["`+canary+`"]`), "wrong_type", "city"),
		letter("no such time", set("date", `"2014-02-30 00:00:00"`), "invalid_time", "date"),
		letter("missing required", fault(house.MissingRequired), "missing_field", "sqft_living"),
		letter("null required", set("sqft_living", "null"), "missing_field", "sqft_living"),
		with(predicted("missing optional", fault(house.MissingOptional)), func(r *badRecord) { r.missing = area }),
		with(predicted("null optional", set("sqft_lot", "null")), func(r *badRecord) { r.missing = area }),
		with(predicted("unknown level", set("city", `"`+canary+`"`)), func(r *badRecord) { r.unseen = []string{"city"} }),
		with(predicted("empty level", set("city", `""`)), func(r *badRecord) { r.unseen = []string{"city"} }),

		letter("NaN", set("sqft_lot", "NaN"), "invalid_json", "sqft_lot"),
		letter("Infinity", set("sqft_lot", "-Infinity"), "invalid_json", "sqft_lot"),
		letter("1e400", fault(house.HugeNumber), "out_of_range", "sqft_lot"),
		letter("inexact integer", set("sqft_lot", "9007199254740993"), "out_of_range", "sqft_lot"),
		letter("octal number", set("sqft_lot", "0123"), "invalid_json", "sqft_lot"),

		letter("latin-1", fault(house.InvalidUTF8), "invalid_utf8", "street"),
		letter("utf-16", utf16(valid, false), "invalid_json", ""),
		letter("utf-16 with byte order mark", utf16(valid, true), "invalid_json", ""),
		letter("byte order mark", append([]byte("\xef\xbb\xbf"), valid...), "invalid_json", ""),
		letter("half a surrogate pair", set("street", `"`+canary+` \ud800"`), "invalid_utf8", "street"),
		letter("control character", set("street", "\"a\x01\""), "invalid_json", "street"),

		letter("duplicate key", fault(house.DuplicateKey), "duplicate_key", "sqft_living"),
		letter("duplicate undeclared key", add(`, "`+canary+`": 1, "`+canary+`": 2`), "duplicate_key", ""),
		letter("duplicate nested key", add(`, "x": {"`+canary+`": 1, "`+canary+`": 2}`), "duplicate_key", ""),
		letter("wrong case", fault(house.WrongCaseKey), "wrong_case", "sqft_living"),
		letter("depth 100", add(`, "deep": `+deep), "too_deep", ""),
		predicted("depth 60", add(`, "deep": `+deep[99-59:99+59])),
		letter("sink field is there", add(`, "predicted_price": `+canaryNumber), "field_exists", "predicted_price"),
		letter("sink field is null", add(`, "predicted_price": null`), "field_exists", "predicted_price"),
		predicted("label is there", add(`, "price": `+canaryNumber)),
		predicted("label is nonsense", add(`, "price": "`+canary+`"`)),

		with(letter("2 MB", pad(valid, 2_000_000), "too_large", ""), func(r *badRecord) { r.pointer = "value" }),
		with(letter("2 MB that is no json", bytes.Repeat([]byte(canary), 200_000), "too_large", ""), func(r *badRecord) { r.pointer = "value" }),
		with(letter("one byte too many", pad(valid, mebibyte+1), "too_large", ""), func(r *badRecord) { r.pointer = "value" }),
		predicted("as large as the sink takes, nearly", pad(valid, 1_048_000)),
		// The record is within the limit, and neither its prediction nor all of it in a dead letter is.
		with(letter("at the limit", pad(valid, mebibyte), "too_large", ""), func(r *badRecord) { r.stage, r.pointer = "produce", "value" }),
		with(letter("2 MB key", valid, "too_large", ""), func(r *badRecord) {
			r.stage, r.key, r.pointer = "produce", bytes.Repeat([]byte(canary), 200_000), "value key"
		}),
		with(letter("2 MB header", valid, "too_large", ""), func(r *badRecord) {
			r.stage, r.pointer = "produce", "value headers"
			r.headers = []kgo.RecordHeader{{Key: "h", Value: bytes.Repeat([]byte(canary), 200_000)}}
		}),
		predicted("intact at the end", valid),
	}
}

// largeRecords are those of a run with a higher limit for records: what is too large is then found at the sink.
func largeRecords(valid []byte) []badRecord {
	return []badRecord{
		{name: "intact", key: []byte("a"), value: valid, prediction: true},
		{name: "2 MB", key: []byte("b"), value: pad(valid, 2_000_000), stage: "produce", class: "too_large", pointer: "value"},
		{name: "3 MB", key: []byte("c"), value: pad(valid, 3*mebibyte), stage: "produce", class: "too_large", pointer: "value"},
		{name: "above 3 MB", key: []byte("d"), value: pad(valid, 3*mebibyte+1), stage: "decode", class: "too_large", pointer: "value"},
		{name: "intact at the end", key: []byte("e"), value: valid, prediction: true},
	}
}

// pad returns a listing of exactly n bytes: one field more makes up for what it lacks.
func pad(listing []byte, n int) []byte {
	head, tail := append(bytes.Clone(listing[:len(listing)-1]), `, "pad": "`...), `"}`
	fill := bytes.Repeat([]byte(canary), n/len(canary)+1)[:n-len(head)-len(tail)]
	return append(append(head, fill...), tail...)
}

// utf16 returns ASCII text in UTF-16, little endian.
func utf16(text []byte, mark bool) []byte {
	var b []byte
	if mark {
		b = []byte{0xff, 0xfe}
	}
	for _, c := range text {
		b = append(b, c, 0)
	}
	return b
}

// TestBadInput sends every kind of record that a stream may bring. Each ends as a prediction, counted where
// something was missing, or as a dead letter that says what was wrong and where; none holds the others up.
func TestBadInput(t *testing.T) {
	seed := newSeed(t)
	ctx := deadline(t, 5*time.Minute)
	cluster := kafkatest.Start(t, kafkatest.Options{})
	p := newProject(t, cluster, seed)
	s := p.generator.Sale(history)
	valid := s.AppendListing(nil)
	t.Run("default", func(t *testing.T) { p.badInput(ctx, t, badRecords(valid)) })
	t.Run("large records", func(t *testing.T) {
		p.topics = torture.Topics{Source: "large", Predictions: "large.predictions", DeadLetters: "large.dlq"}
		p.badInput(ctx, t, largeRecords(valid), "--set", "source.topic=large", "--set", "sink.topic=large.predictions", "--set", "dead_letter.topic=large.dlq",
			"--set", "group=large", "--set", "source.max_record_bytes="+strconv.Itoa(3*mebibyte))
	})
}

func (p *project) badInput(ctx context.Context, t *testing.T, records []badRecord, more ...string) {
	p.createTopics(ctx, t, 1, map[string]string{
		"max.message.bytes": strconv.Itoa(4 * mebibyte), "message.timestamp.after.max.ms": strconv.FormatInt(1<<63-1, 10),
	})
	messages := p.expect(t, records)
	tr := &traffic{messages: messages, partitions: 1}
	oracle, observer := p.watch(t, tr)
	i := p.start(t, "instance-0", more...)
	p.sendBad(ctx, t, records)
	if err := observer.Wait(ctx); err != nil {
		t.Error(err)
	}
	must(t, observer.Drain(ctx))
	p.checkMetrics(ctx, t, i, records)
	_, err := i.terminate(ctx)
	must(t, err)
	if err := oracle.Report().Err(); err != nil {
		t.Error(err)
	}
	p.checkSummary(t, i, records)
	if strings.Contains(i.log(), canary) || strings.Contains(i.log(), canaryNumber) {
		t.Errorf("the log holds a value of a record:\n%s", i.log())
	}
	p.checkBad(ctx, t, records)
}

// expect returns the records as messages, with what predicting a file says about them.
func (p *project) expect(t *testing.T, records []badRecord) []message {
	t.Helper()
	messages := make([]message, len(records))
	for i, r := range records {
		messages[i] = message{Source: torture.Source{Offset: int64(i)}, key: r.key, value: r.value}
	}
	p.predict(t, messages)
	for i, r := range records {
		m := &messages[i]
		if strings.Contains(r.pointer, "key") {
			m.key = nil // the oracle compares the keys of what comes out
		}
		if r.stage == "produce" || len(r.value) > mebibyte { // limits of the stream, which are none of a file
			m.prediction = nil
		}
		if r.prediction != (m.prediction != nil) {
			t.Errorf("%s: predict gives a prediction: %t", r.name, m.prediction != nil)
		}
	}
	return messages
}

// sendBad sends the records in order.
func (p *project) sendBad(ctx context.Context, t *testing.T, records []badRecord) {
	t.Helper()
	cl := p.client(t, kgo.ProducerBatchMaxBytes(4*mebibyte), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.DefaultProduceTopic(p.topics.Source))
	list := make([]*kgo.Record, len(records))
	for i, r := range records {
		list[i] = &kgo.Record{Key: r.key, Value: r.value, Headers: r.headers, Timestamp: r.timestamp}
	}
	for i, r := range cl.ProduceSync(ctx, list...) {
		must(t, r.Err)
		if r.Record.Offset != int64(i) {
			t.Fatalf("%s is at offset %d: want %d", records[i].name, r.Record.Offset, i)
		}
	}
}

// counts returns the dead letters by stage and class, and the predictions.
func counts(records []badRecord) (letters map[string]uint64, predictions uint64) {
	letters = map[string]uint64{}
	for _, r := range records {
		if r.prediction {
			predictions++
		} else {
			letters[r.stage+"/"+r.class]++
		}
	}
	return letters, predictions
}

func (p *project) checkSummary(t *testing.T, i *instance, records []badRecord) {
	t.Helper()
	letters, predictions := counts(records)
	s := i.summary(t)
	if s.Records != uint64(len(records)) || s.Predictions != predictions || !maps.Equal(s.DeadLetters, letters) {
		t.Errorf("summary %+v: want %d records, %d predictions, dead letters %v", s, len(records), predictions, letters)
	}
}

// checkMetrics compares what the instance counts with the records.
func (p *project) checkMetrics(ctx context.Context, t *testing.T, i *instance, records []badRecord) {
	t.Helper()
	letters, predictions := counts(records)
	want := map[string]uint64{"millrace_records_total": uint64(len(records)), "millrace_predictions_total": predictions}
	for kind, n := range letters {
		stage, class, _ := strings.Cut(kind, "/")
		want[fmt.Sprintf("millrace_dead_letters_total{class=%q,stage=%q}", class, stage)] = n
	}
	for _, r := range records {
		for _, in := range r.missing {
			want[fmt.Sprintf("millrace_input_missing_total{input=%q}", in)]++
		}
		for _, in := range r.unseen {
			want[fmt.Sprintf("millrace_input_unseen_total{input=%q}", in)]++
		}
	}
	// The commit of what can be read already may not be counted yet.
	line := regexp.MustCompile(`(?m)^(millrace_(?:records|predictions|dead_letters|aborts|input_missing|input_unseen)_total\S*) (\d+)$`)
	got := map[string]uint64{}
	err := poll(ctx, func() (bool, error) {
		code, body, err := i.get(ctx, "/metrics")
		if err != nil || code != 200 {
			return false, fmt.Errorf("/metrics: %d, %w", code, err)
		}
		clear(got)
		for _, m := range line.FindAllStringSubmatch(body, -1) {
			if n, err := strconv.ParseUint(m[2], 10, 64); err != nil {
				return false, err
			} else if n > 0 {
				got[m[1]] = n
			}
		}
		return got["millrace_records_total"] >= uint64(len(records)), nil
	})
	must(t, err)
	// What was undone is not counted, save the values that the model's inputs lacked.
	undone := got["millrace_aborts_total"] > 0 || i.count("msg=running ") > 1
	delete(got, "millrace_aborts_total")
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if twice := undone && strings.HasPrefix(k, "millrace_input") && got[k] > want[k]; got[k] != want[k] && !twice {
			t.Errorf("metric %s is %d: want %d", k, got[k], want[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			t.Errorf("metric %s is %d: want none", k, got[k])
		}
	}
}

// checkBad looks at what became of each record.
func (p *project) checkBad(ctx context.Context, t *testing.T, records []badRecord) {
	t.Helper()
	predictions, err := torture.Committed(ctx, p.cluster.Bootstrap(), p.topics.Predictions)
	must(t, err)
	letters, err := torture.Committed(ctx, p.cluster.Bootstrap(), p.topics.DeadLetters)
	must(t, err)
	for _, r := range predictions {
		h := headers(r)
		parts := strings.Split(h["millrace.source"], "/")
		n, err := strconv.Atoi(parts[len(parts)-1])
		if err != nil || n >= len(records) {
			t.Errorf("prediction %d: source %q", r.Offset, h["millrace.source"])
			continue
		}
		t.Run(records[n].name, func(t *testing.T) { checkPrediction(t, &records[n], r, h) })
	}
	for _, r := range letters {
		h := headers(r)
		at, err := letterSource(h, p.topics.Source)
		if err != nil || at.Offset >= int64(len(records)) {
			t.Errorf("dead letter %d: source %v, %v", r.Offset, at, err)
			continue
		}
		t.Run(records[at.Offset].name, func(t *testing.T) { checkLetter(t, &records[at.Offset], r, h) })
	}
}

// checkPrediction compares what is not in the value, which the oracle has compared.
func checkPrediction(t *testing.T, in *badRecord, r *kgo.Record, h map[string]string) {
	t.Helper()
	if h["millrace.model"] != "house-prices@1" || !strings.HasPrefix(h["millrace.digest"], "sha256:") {
		t.Errorf("headers %v", h)
	}
	// What says where another prediction came from, or is made up to say so, is left out.
	kept := slices.DeleteFunc(slices.Clone(in.headers), func(h kgo.RecordHeader) bool { return h.Key == "millrace.source" })
	for i, own := range kept {
		if r.Headers[i].Key != own.Key || !bytes.Equal(r.Headers[i].Value, own.Value) {
			t.Errorf("header %d is %q %q", i, r.Headers[i].Key, r.Headers[i].Value)
		}
	}
	switch original, far := h["millrace.source.timestamp"], in.timestamp.After(time.Now()); {
	case far: // the sink refuses it
		if original != strconv.FormatInt(in.timestamp.UnixMilli(), 10) || r.Timestamp.After(time.Now().Add(time.Minute)) {
			t.Errorf("timestamp %v, header %q", r.Timestamp, original)
		}
	case original != "" || !in.timestamp.IsZero() && !r.Timestamp.Equal(in.timestamp):
		t.Errorf("timestamp %v, header %q", r.Timestamp, original)
	}
}

func checkLetter(t *testing.T, in *badRecord, r *kgo.Record, h map[string]string) {
	t.Helper()
	for name, want := range map[string]string{"stage": in.stage, "class": in.class, "field": in.field} {
		if got := h["millrace.dlq."+name]; got != want {
			t.Errorf("%s %q: want %q; reason %q", name, got, want, h["millrace.dlq.reason"])
		}
	}
	if h["millrace.dlq.reason"] == "" {
		t.Error("no reason")
	}
	for k, v := range h {
		if strings.HasPrefix(k, "millrace.dlq.") && (strings.Contains(v, canary) || strings.Contains(v, canaryNumber)) {
			t.Errorf("header %s holds a value of the record: %q", k, v)
		}
	}
	size := 0
	for _, own := range in.headers {
		size += len(own.Key) + len(own.Value)
	}
	checkPart(t, in, "value", r.Value, in.value, h["millrace.dlq.value-bytes"], len(in.value))
	checkPart(t, in, "key", r.Key, in.key, h["millrace.dlq.key-bytes"], len(in.key))
	var kept []byte
	for _, x := range r.Headers {
		if !strings.HasPrefix(x.Key, "millrace.dlq.") {
			kept = append(append(kept, x.Key...), x.Value...)
		}
	}
	var own []byte
	for _, x := range in.headers {
		own = append(append(own, x.Key...), x.Value...)
	}
	checkPart(t, in, "headers", kept, own, h["millrace.dlq.headers-bytes"], size)
}

// checkPart compares a part of a dead letter with that of the record: it is there, or its size in a header is.
func checkPart(t *testing.T, in *badRecord, what string, got, want []byte, header string, size int) {
	t.Helper()
	if slices.Contains(strings.Fields(in.pointer), what) {
		if got != nil || header != strconv.Itoa(size) {
			t.Errorf("the %s: %d bytes, header %q: want none, and %d", what, len(got), header, size)
		}
		return
	}
	if !bytes.Equal(got, want) || (got == nil) != (want == nil) || header != "" {
		t.Errorf("the %s has other bytes, header %q", what, header)
	}
}
