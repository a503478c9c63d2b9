package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// send writes records n to m of flats into its three partitions, in turn.
func (f *fleet) send(t *testing.T, n, m int) {
	t.Helper()
	p, err := f.client.NewProducer(kafka.ProducerConfig{Topic: "flats"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := n; i < m; i++ {
		r := record.Raw{Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, `{"size":%d,"n":%d}`, 20+i%100, i), Timestamp: 1_700_000_000_000 + int64(i)*1000}
		if i%10 == 7 {
			r.Value = []byte("rubbish")
		}
		if err := p.Send(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// bySource returns what a topic holds, by the record that led to it: its value and its headers.
func (f *fleet) bySource(t *testing.T, topic string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := f.client.Tap(t.Context(), kafka.TapConfig{Topic: topic, From: kafka.FromStart}, func(rs []record.Raw) error {
		for i := range rs {
			source, text := "", fmt.Appendf(nil, "%s %s", rs[i].Key, rs[i].Value)
			for _, h := range rs[i].Headers {
				switch h.Key {
				case engine.HeaderSource:
					source = string(h.Value)
				case task.LetterTopic, task.LetterPartition, task.LetterOffset:
					source += "/" + string(h.Value)
				default:
				}
				text = fmt.Appendf(text, " %s=%s", h.Key, h.Value)
			}
			if all[source] != "" {
				t.Errorf("%s has two records of %s", topic, source)
			}
			all[source] = string(text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// shadow runs a shadow until it ends by itself, or until it has predicted so many records.
func (f *fleet) shadow(t *testing.T, o ShadowOptions, until func(*Running) bool) (*ShadowBegin, error) {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var began *ShadowBegin
	o.File, o.CreateTopics, o.Began = f.file, true, func(b *ShadowBegin) { began = b }
	o.Started = func(r *Running) {
		if until == nil {
			return
		}
		go func() {
			for !until(r) {
				if pause(ctx, 5e6) != nil {
					return
				}
			}
			end()
		}()
	}
	_, err := f.app.Shadow(ctx, o)
	if until != nil && errors.Is(err, context.Canceled) { // it was ended while it still began
		err = nil
	}
	return began, err
}

func TestShadow(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.start(t, "one")
	f.settled(t, w)
	f.send(t, 0, 100)
	until(t, "production is through", func() bool { return w.running().Stats().Records == 100 })
	f.send(t, 100, 150)
	until(t, "production is further", func() bool { return w.running().Stats().Records == 150 })
	before, err := f.client.Committed(t.Context(), "flats")
	if err != nil {
		t.Fatal(err)
	}
	// It begins where production is: none of the 150 records is predicted.
	go f.sendLater(t, 150, 300)
	began, err := f.shadow(t, ShadowOptions{Model: "flats@3"}, func(r *Running) bool { return r.Stats().Records >= 150 })
	if err != nil {
		t.Fatal(err)
	}
	if began.Resumed || began.Group != "flats-shadow" {
		t.Errorf("%+v", began)
	}
	for p, at := range before.Offsets("flats") {
		if began.From[p] < at {
			t.Errorf("partition %d begins at %d, and production was at %d", p, began.From[p], at)
		}
	}
	until(t, "production is through all", func() bool { return w.running().Stats().Records == 300 })
	production, shadow := f.bySource(t, "out"), f.bySource(t, "flats.shadow")
	if len(production) != 270 || len(shadow) != 135 {
		t.Errorf("%d predictions of production and %d of the shadow, want 270 and 135", len(production), len(shadow))
	}
	for source, text := range shadow {
		if !strings.Contains(text, "millrace.model=flats@3") || !strings.Contains(production[source], "millrace.model=flats@1") {
			t.Errorf("%s: %s beside %s", source, text, production[source])
		}
	}
	if letters := f.bySource(t, "flats.shadow.dlq"); len(letters) != 15 {
		t.Errorf("%d dead letters, want 15", len(letters))
	}
	// It goes on where it stopped.
	f.send(t, 300, 310)
	began, err = f.shadow(t, ShadowOptions{Model: "flats@2"}, func(r *Running) bool { return r.Stats().Records >= 10 })
	if err != nil || !began.Resumed {
		t.Fatalf("%+v, %v", began, err)
	}
	if n := len(f.bySource(t, "flats.shadow")); n != 144 {
		t.Errorf("%d predictions, want 144", n)
	}
}

// sendLater is send for another goroutine.
func (f *fleet) sendLater(t *testing.T, n, m int) {
	t.Helper()
	f.send(t, n, m)
}

func TestShadowRange(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.send(t, 0, 200)
	end, err := f.client.EndOffsets(t.Context(), "flats", true)
	if err != nil {
		t.Fatal(err)
	}
	from, to := kafka.Offsets{}, kafka.Offsets{}
	want := 0
	for p, n := range end {
		from[p], to[p] = n/4, n/2
		want += int(to[p] - from[p])
	}
	o := ShadowOptions{
		Model: "flats@3", From: fmt.Sprintf("offset:0=%d,1=%d,2=%d", from[0], from[1], from[2]), To: fmt.Sprintf("offset:0=%d,1=%d,2=%d", to[0], to[1], to[2]),
	}
	began, err := f.shadow(t, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([2]kafka.Offsets{from, to}, [2]kafka.Offsets{began.From, began.To}); diff != "" {
		t.Error(diff)
	}
	got := f.bySource(t, "flats.shadow")
	n := 0
	for source := range got {
		var p int32
		var at int64
		if _, err := fmt.Sscanf(source, "flats/%d/%d", &p, &at); err == nil {
			n++
			if at < from[p] || at >= to[p] {
				t.Errorf("%s is outside of the range", source)
			}
		}
	}
	if n != len(got) || n > want || n < want*4/5 { // every tenth is rubbish
		t.Errorf("%d of %d are in the range of %d", n, len(got), want)
	}
	if _, err := f.shadow(t, o, nil); !isCode(err, Nothing) {
		t.Errorf("done again: %v", err)
	}
	o.Model = "flats@2"
	if _, err := f.shadow(t, o, nil); err != nil {
		t.Errorf("another model: %v", err)
	}
	for range 2 { // it is not taken for done the second time
		if _, err := f.shadow(t, ShadowOptions{Model: "flats@3", From: "latest", To: "earliest"}, nil); !isCode(err, Nothing) || !strings.Contains(err.Error(), "no record") {
			t.Errorf("a range without records: %v", err)
		}
	}
}

func isCode(err error, code Code) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == code
}

func TestShadowRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for _, set := range [][]string{
		{"shadow.topic=out"},
		{"shadow.topic=flats"},
		{"shadow.topic=dlq"},
		{"shadow.dead_letter=out"},
		{"shadow.group=flats"},
		{"shadow.topic=flats-control"},
		{"shadow.topic=flats-status"},
		{"shadow.topic=flats.features"},
		{"shadow.dead_letter=flats.shadow"},
		{"shadow.topic=flats-w-changelog"},
		{"shadow.group=flats-schedule"},
		{"sink.topic=elsewhere", "shadow.topic=out"},
		{"group=other", "shadow.group=flats"},
		{"source.topic=other", "shadow.dead_letter=flats"},
		{"sink.topic=flats.shadow"},
		{"state.dir=here", "shadow.state_dir=here"},
	} {
		_, err := f.shadow(t, ShadowOptions{Model: "flats@3", Set: set}, nil)
		if code, _ := Explain(err); err == nil || code != Refused && code != Usage {
			t.Errorf("%v: %v", set, err)
		}
	}
	topics, err := f.client.Topics(t.Context(), "flats.shadow")
	if len(topics) != 0 {
		t.Errorf("%v was made: %v", topics, err)
	}
	_, err = f.app.Run(t.Context(), RunOptions{File: f.file, InstanceID: "shadow-1"})
	if !isCode(err, Usage) {
		t.Errorf("an instance with the id of a shadow's: %v", err)
	}
}
