package task

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

// TestOrigin holds that a record comes out of a repartition topic as it went in, whatever the topic's own record is.
func TestOrigin(t *testing.T) {
	t.Parallel()
	p := &Program{Origins: []string{"app-x-repartition"}}
	rapid.Check(t, func(t *rapid.T) {
		b := func(name string) []byte {
			return rapid.SampledFrom([][]byte{nil, {}, []byte("a"), []byte("bc"), make([]byte, 300)}).Draw(t, name)
		}
		headers := func(name string) []record.Header {
			var hs []record.Header
			for range rapid.IntRange(0, 3).Draw(t, name) {
				hs = append(hs, record.Header{Key: rapid.SampledFrom([]string{"", "h", OriginHeader}).Draw(t, "key"), Value: b("header")})
			}
			return hs
		}
		want := record.Raw{
			Key: b("key"), Value: b("value"), Headers: headers("headers"), Topic: rapid.SampledFrom([]string{"in", "other", ""}).Draw(t, "topic"),
			Partition: rapid.Int32().Draw(t, "partition"), Offset: rapid.Int64().Draw(t, "offset"), Timestamp: rapid.Int64().Draw(t, "timestamp"),
		}
		m := Message{Topic: "app-x-repartition", Key: b("message key"), Value: b("message value"), Headers: headers("message headers")}
		if rapid.Bool().Draw(t, "the same") {
			m.Key, m.Value, m.Headers = want.Key, want.Value, want.Headers
		}
		raw := record.Raw{
			Topic: m.Topic, Key: m.Key, Value: m.Value, Offset: 9,
			Headers: append(slices.Clip(m.Headers), record.Header{Key: OriginHeader, Value: AppendOrigin(nil, &m, &want)}),
		}
		into := record.Raw{Topic: "in", Key: []byte("old"), Headers: []record.Header{{Key: "old"}}}
		got := p.Origin(&raw, &into)
		if len(got.Headers) == 0 {
			got.Headers = nil
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(m.Headers, WithoutOrigin(raw.Headers)); diff != "" && len(m.Headers) > 0 {
			t.Fatal(diff)
		}
		// Of any other topic it is a header like others.
		raw.Topic = "elsewhere"
		if got := p.Origin(&raw, &into); got != &raw {
			t.Fatalf("%+v", got)
		}
	})
}

// FuzzOrigin reads headers that are damaged.
func FuzzOrigin(f *testing.F) {
	p := &Program{Origins: []string{"t"}}
	m := Message{Key: []byte("k")}
	f.Add(AppendOrigin(nil, &m, &record.Raw{Topic: "in", Key: []byte("x"), Value: []byte("v"), Headers: []record.Header{{Key: "a", Value: []byte("b")}, {Key: "c"}}}))
	f.Add(AppendOrigin(nil, &m, &record.Raw{Topic: "in", Key: []byte("k")}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, header []byte) {
		raw := record.Raw{Topic: "t", Headers: []record.Header{{Key: OriginHeader, Value: header}}}
		var into record.Raw
		if got := p.Origin(&raw, &into); got != &raw && got != &into {
			t.Fatal("another record")
		}
	})
}
