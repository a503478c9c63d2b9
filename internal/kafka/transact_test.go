package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"millrace.dev/record"
)

// writer opens transactions.
func writer(tb testing.TB, c *Client) *Transactions {
	tb.Helper()
	w, err := c.Transactions(tb.Context(), TransactionConfig{ID: "x"})
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// put writes values into an open transaction, to partitions in turn.
func put(tb testing.TB, w *Transactions, values ...string) {
	tb.Helper()
	if err := w.Begin(); err != nil {
		tb.Fatal(err)
	}
	for i, v := range values {
		w.Send(&record.Raw{Topic: "t", Partition: int32(i % 3), Value: []byte(v), Timestamp: int64(1000 + i), Headers: []record.Header{{Key: "h", Value: []byte(v)}}})
	}
}

func texts(rs []record.Raw) []string {
	var list []string
	for _, r := range rs {
		list = append(list, fmt.Sprintf("%d %s %d %s=%s", r.Partition, r.Value, r.Timestamp, r.Headers[0].Key, r.Headers[0].Value))
	}
	return list
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	_, c := open(t)
	w := writer(t, c)
	put(t, w, "a", "b")
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, w, "c")
	w.Close() // undone
	w = writer(t, c)
	put(t, w, "d")
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Close()
	got := map[string]bool{}
	for _, s := range texts(tap(t, c, TapConfig{Topic: "t"})) {
		got[s] = true
	}
	if diff := cmp.Diff(map[string]bool{"0 a 1000 h=a": true, "1 b 1001 h=b": true, "0 d 1000 h=d": true}, got); diff != "" {
		t.Error(diff)
	}
}

// TestTransactionsFence opens an id that another writer uses: what that has open is undone, and it can go no further.
func TestTransactionsFence(t *testing.T) {
	t.Parallel()
	_, c := open(t)
	first := writer(t, c)
	defer first.Close()
	put(t, first, "a")
	second := writer(t, c)
	defer second.Close()
	put(t, second, "b")
	if err := second.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := first.Commit(t.Context())
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeFenced || e.Hint == "" {
		t.Errorf("the first one commits: %v", err)
	}
	if got := texts(tap(t, c, TapConfig{Topic: "t"})); len(got) != 1 || got[0] != "0 b 1000 h=b" {
		t.Errorf("%q", got)
	}
}

func TestTransactionsFail(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct {
		key  kmsg.Key
		err  *kerr.Error
		code Code
		top  bool
	}{
		"not allowed to write": {kmsg.Produce, kerr.TopicAuthorizationFailed, CodeUnauthorized, false},
		"too large":            {kmsg.Produce, kerr.MessageTooLarge, CodeRejected, false},
		"fenced":               {kmsg.EndTxn, kerr.ProducerFenced, CodeFenced, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, c := open(t)
			w := writer(t, c)
			defer w.Close()
			put(t, w, "a")
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{f.key}, Err: f.err, Count: 1, TopLevel: f.top})
			err := w.Commit(t.Context())
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != f.code {
				t.Errorf("%v, want code %s", err, f.code)
			}
			if got := tap(t, c, TapConfig{Topic: "t"}); len(got) > 0 {
				t.Errorf("%q", texts(got))
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		_, c := open(t)
		w := writer(t, c)
		defer w.Close()
		put(t, w, "a")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.Commit(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		c, err := New(Config{Brokers: []string{"127.0.0.1:1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Transactions(t.Context(), TransactionConfig{ID: "x", Timeout: time.Second})
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeUnavailable {
			t.Error(err)
		}
	})
}
