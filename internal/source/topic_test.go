package source

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/internal/kafka"
)

func TestParseRange(t *testing.T) {
	t.Parallel()
	day := time.Date(2014, 5, 31, 0, 0, 0, 0, time.UTC).UnixMilli()
	for name, want := range map[string]any{
		"topic://a":                                 wanted{"a", mark{kind: markEarliest}, mark{kind: markLatest}},
		"topic://a.b_c-D?":                          wanted{"a.b_c-D", mark{kind: markEarliest}, mark{kind: markLatest}},
		"topic://a?from=2014-05-31":                 wanted{"a", mark{kind: markTime, millis: day}, mark{kind: markLatest}},
		"topic://a?from=2014-05-31T02:00:00+02:00":  wanted{"a", mark{kind: markTime, millis: day}, mark{kind: markLatest}},
		"topic://a?from=2014-05-31T00:00:00.0001Z":  wanted{"a", mark{kind: markTime, millis: day + 1}, mark{kind: markLatest}},
		"topic://a?to=latest&from=earliest":         wanted{"a", mark{kind: markEarliest}, mark{kind: markLatest}},
		"topic://a?from=offset:7&to=offset:0=1,2=3": wanted{"a", mark{kind: markOffset, offset: 7}, mark{kind: markOffsets, offsets: map[int32]int64{0: 1, 2: 3}}},
		"topic://":                                "it names no topic",
		"topic://?from=latest":                    "it names no topic",
		"topic://a b":                             `no topic can be called "a b"`,
		"topic://a/b":                             `no topic can be called "a/b"`,
		"topic://a?since=x":                       `"since=x": want from and to, once each`,
		"topic://a?from=latest&from=latest":       "want from and to, once each",
		"topic://a?from=-30d":                     "depends on when it is read",
		"topic://a?from=yesterday":                `from: "yesterday" is no place in a topic`,
		"topic://a?from=":                         "is no place in a topic",
		"topic://a?from=1969-12-31":               "before 1970",
		"topic://a?from=2014-06-01&to=2014-05-31": "it ends before it begins",
		"topic://a?from=offset:-1":                "want an offset",
		"topic://a?from=offset:0=1,0=2":           "want an offset",
		"topic://a?from=offset:0=1,":              "want an offset",
		"topic://a?from=offset:":                  "want an offset",
		"topic://a?from=offset:x=1":               "want an offset",
	} {
		got, err := parseRange(name)
		if text, ok := want.(string); ok {
			check(t, err, text)
			if e, ok := errors.AsType[*DataError](CheckTopic(name)); !ok || e.Path != name || e.Hint == "" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, *got, cmp.AllowUnexported(wanted{}, mark{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// cluster is a fake one with a topic of three partitions, t, and one of one, u.
type cluster struct {
	fake   *kfake.Cluster
	client *kafka.Client
	kgo    *kgo.Client
}

func newCluster(t *testing.T, o ...kgo.Opt) *cluster {
	t.Helper()
	f, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "t"), kfake.SeedTopics(1, "u"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	c := &cluster{fake: f}
	if c.client, err = kafka.New(kafka.Config{Brokers: f.ListenAddrs()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.client.Close)
	if c.kgo, err = kgo.NewClient(append(o, kgo.SeedBrokers(f.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kgo.Close)
	return c
}

// put writes records, whose keys and values are given as "key=value": no key where there is no =, no value for "key=".
func (c *cluster) put(t *testing.T, topic string, partition int32, at time.Time, records ...string) {
	t.Helper()
	for i, text := range records {
		r := &kgo.Record{Topic: topic, Partition: partition, Timestamp: at.Add(time.Duration(i) * time.Second)}
		if key, value, ok := strings.Cut(text, "="); ok {
			r.Key = []byte(key)
			if value != "" {
				r.Value = []byte(value)
			}
		} else {
			r.Value = []byte(text)
		}
		if err := c.kgo.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTopic(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	may, june := time.Date(2014, 5, 1, 0, 0, 0, 0, time.UTC), time.Date(2014, 6, 1, 0, 0, 0, 0, time.UTC)
	c.put(t, "t", 2, may, `k={"x":20}`, `k=`)
	c.put(t, "t", 0, may, `{"x":0}`, `{"x":1}`, `{"x":2}`)
	c.put(t, "t", 0, june, `{"x":3}`)
	c.put(t, "t", 1, june, `{"x":10}`, `{"x":11}`)
	all := []string{`{"x":0}`, `{"x":1}`, `{"x":2}`, `{"x":3}`, `{"x":10}`, `{"x":11}`, `{"x":20}`, ""}
	for query, tc := range map[string]struct {
		want []string
		name string // the offsets
		err  string
	}{
		"":                                  {want: all, name: "from=offset:0=0,1=0,2=0&to=offset:0=4,1=2,2=2"},
		"?from=2014-05-01T00:00:01Z":        {want: []string{`{"x":1}`, `{"x":2}`, `{"x":3}`, `{"x":10}`, `{"x":11}`, ""}, name: "from=offset:0=1,1=0,2=1&to=offset:0=4,1=2,2=2"},
		"?to=2014-06-01":                    {want: []string{`{"x":0}`, `{"x":1}`, `{"x":2}`, `{"x":20}`, ""}, name: "from=offset:0=0,1=0,2=0&to=offset:0=3,1=0,2=2"},
		"?from=2014-06-01&to=2014-06-02":    {want: []string{`{"x":3}`, `{"x":10}`, `{"x":11}`}, name: "from=offset:0=3,1=0,2=2&to=offset:0=4,1=2,2=2"},
		"?from=2030-01-01":                  {name: "from=offset:0=4,1=2,2=2&to=offset:0=4,1=2,2=2"},
		"?from=latest":                      {name: "from=offset:0=4,1=2,2=2&to=offset:0=4,1=2,2=2"},
		"?from=offset:1&to=offset:3":        {want: []string{`{"x":1}`, `{"x":2}`, `{"x":11}`, ""}, name: "from=offset:0=1,1=1,2=1&to=offset:0=3,1=2,2=2"},
		"?from=offset:0=1,2=0&to=latest":    {want: []string{`{"x":1}`, `{"x":2}`, `{"x":3}`, `{"x":20}`, ""}, name: "from=offset:0=1,2=0&to=offset:0=4,2=2"},
		"?to=offset:1=1":                    {want: []string{`{"x":10}`}, name: "from=offset:1=0&to=offset:1=1"},
		"?from=offset:0=9":                  {err: "partition 0 has no offset 9: it has 0 to 4"},
		"?from=offset:7=0":                  {err: "it has no partition 7: its partitions are 0 to 2"},
		"?from=offset:0=1&to=offset:1=1":    {err: "from and to name other partitions"},
		"?from=offset:0=2&to=offset:0=1":    {err: "in partition 0 it ends at 1, before it begins at 2"},
		"?from=2014-06-01&to=offset:0=1":    {name: "from=offset:0=3&to=offset:0=3"},
		"?from=now":                         {err: "no place in a topic"},
		"?from=earliest&to=offset:99999999": {want: all, name: "from=offset:0=0,1=0,2=0&to=offset:0=4,1=2,2=2"},
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			rows, digest, err := readAll(t.Context(), "topic://t"+query, Options{Client: c.client})
			check(t, err, tc.err)
			if err != nil {
				if e, ok := errors.AsType[*DataError](err); !ok || e.Hint == "" {
					t.Errorf("%v: no hint", err)
				}
				return
			}
			if diff := cmp.Diff(append([]string{}, tc.want...), append([]string{}, valuesOf(rows)...)); diff != "" {
				t.Error(diff)
			}
			s, err := Open(t.Context(), "topic://t"+query, Options{Client: c.client})
			if err != nil {
				t.Fatal(err)
			}
			if s.Name() != "topic://t?"+tc.name || !s.Topic() || s.Columns() != nil {
				t.Errorf("name %s", s.Name())
			}
			again, digestAgain, err := readAll(t.Context(), s.Name(), Options{Client: c.client})
			if err != nil || digest != digestAgain || len(again) != len(rows) {
				t.Errorf("%d rows of the range of the lineage, %s, %v", len(again), digestAgain, err)
			}
		})
	}
}

// TestTopicDigest holds the digest to its definition.
func TestTopicDigest(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.put(t, "t", 1, time.Now(), "k=v", "k=", "=v", "w")
	_, got, err := readAll(t.Context(), "topic://t", Options{Client: c.client})
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	for offset, kv := range [][2][]byte{{[]byte("k"), []byte("v")}, {[]byte("k"), nil}, {[]byte{}, []byte("v")}, {nil, []byte("w")}} {
		number(h, 4, 1)
		number(h, 8, int64(offset))
		for _, text := range kv {
			if text == nil {
				number(h, 8, -1)
				continue
			}
			number(h, 8, int64(len(text)))
			h.Write(text)
		}
	}
	if want := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func number(h hash.Hash, bytes int, n int64) {
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(n))[8-bytes:])
}

// TestTransactions reads only what was committed; markers and aborted records are holes.
func TestTransactions(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kgo.TransactionalID("x"))
	for i, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		if err := c.kgo.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		c.put(t, "u", 0, time.Now(), fmt.Sprintf(`{"x":%d}`, i))
		if err := c.kgo.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	rows, _, err := readAll(t.Context(), "topic://u", Options{Client: c.client})
	if err != nil || !slices.Equal(valuesOf(rows), []string{`{"x":0}`, `{"x":2}`}) || rows[1].number != 1 {
		t.Errorf("rows %v, %v", rows, err)
	}
}

// TestTopicChanges reads a range while the topic changes.
func TestTopicChanges(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.put(t, "u", 0, time.Now(), `{"x":0}`, `{"x":1}`, `{"x":2}`)
	open := func() *Source {
		t.Helper()
		s, err := Open(t.Context(), "topic://u", Options{Client: c.client})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	c.put(t, "u", 0, time.Now(), `{"x":3}`) // what comes later is not in the range
	rows, _, err := readOnce(t.Context(), s)
	if err != nil || len(rows) != 3 {
		t.Fatalf("rows %v, %v", rows, err)
	}
	admin := kadm.NewClient(c.kgo)
	var before kadm.Offsets
	before.Add(kadm.Offset{Topic: "u", Partition: 0, At: 2})
	if _, err := admin.DeleteRecords(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	_, _, err = readOnce(t.Context(), s)
	check(t, err, "records of the range were deleted before they were read")
	if e, ok := errors.AsType[*DataError](err); !ok || e.Hint == "" {
		t.Errorf("error %v", err)
	}
	_, _, err = readAll(t.Context(), "topic://u?from=offset:1", Options{Client: c.client})
	check(t, err, "partition 0 has no offset 1: it has 2 to 4")
	s = open()
	if _, err := admin.DeleteTopics(t.Context(), "u"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopics(t.Context(), 1, 1, nil, "u"); err != nil {
		t.Fatal(err)
	}
	_, _, err = readOnce(t.Context(), s)
	check(t, err, "it was deleted and made anew")
}

func TestTopicFails(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	_, _, err := readAll(t.Context(), "topic://no", Options{Client: c.client})
	if e, ok := errors.AsType[*kafka.Error](err); !ok || e.Code != kafka.CodeUnknownTopic || e.Hint == "" {
		t.Errorf("unknown topic: %v", err)
	}
	_, _, err = readAll(t.Context(), "topic://t", Options{})
	check(t, err, "needs the brokers")
	c.put(t, "t", 0, time.Now(), `{"x":0}`)
	s, err := Open(t.Context(), "topic://t", Options{Client: c.client})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Read(t.Context()) // never read: nothing may stay behind
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := readOnce(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	away, err := kafka.New(kafka.Config{Brokers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	_, _, err = readAll(t.Context(), "topic://t", Options{Client: away})
	if e, ok := errors.AsType[*kafka.Error](err); !ok || e.Code != kafka.CodeUnavailable || e.Hint == "" {
		t.Errorf("no brokers: %v", err)
	}
}
