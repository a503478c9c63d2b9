//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// pairs returns what a join of two tables should write, each update, if it reads both in the order of their times.
func pairs(left updates, right rows, n int) []*kgo.Record {
	var all []*kgo.Record
	have := map[int]int{}    // the newest update by key
	of := map[int][]int{}    // the keys of a row
	version := map[int]int{} // the newest of a row
	emit := func(key int) {
		i := have[key]
		_, row, at := left.of(i)
		_, changed := right.of(version[row])
		value := append(append(left.appendValue(nil, i), ';'), right.value(version[row])...)
		all = append(all, &kgo.Record{Key: left.keyOf(key), Value: value, Timestamp: time.UnixMilli(max(at, changed))})
	}
	for i := range keys {
		version[i] = i
	}
	for i := range n {
		key, row, _ := left.of(i)
		if before, ok := have[key]; ok {
			_, was, _ := left.of(before)
			of[was] = slices.DeleteFunc(of[was], func(k int) bool { return k == key })
		}
		have[key], of[row] = i, append(of[row], key)
		emit(key)
		if i%right.every == right.every-1 {
			changed := keys + i/right.every
			row, _ := right.of(changed)
			version[row] = changed
			for _, key := range of[row] {
				emit(key)
			}
		}
	}
	return all
}

func TestPairs(t *testing.T) {
	t.Parallel()
	repeated := func(all []*kgo.Record) []*kgo.Record {
		i := len(all) / 2
		return slices.Insert(all, i, all[i])
	}
	older := func(all []*kgo.Record) []*kgo.Record {
		i := again(all)
		before := slices.IndexFunc(all, func(r *kgo.Record) bool { return string(r.Key) == string(all[i].Key) })
		return slices.Insert(all, i+1, all[before])
	}
	lost := func(all []*kgo.Record) []*kgo.Record { return all[:len(all)-1] }
	deleted := func(all []*kgo.Record) []*kgo.Record {
		return append(all, &kgo.Record{Key: all[len(all)-1].Key, Timestamp: all[0].Timestamp})
	}
	moved := func(all []*kgo.Record) []*kgo.Record {
		i := len(all) / 2
		return slices.Insert(all, i, &kgo.Record{Key: all[i].Key, Timestamp: all[0].Timestamp})
	}
	changed := func(change func(r *kgo.Record)) func(all []*kgo.Record) []*kgo.Record {
		return func(all []*kgo.Record) []*kgo.Record {
			change(all[len(all)/2])
			return all
		}
	}
	for _, c := range []struct {
		name, guarantee string
		fake            func(all []*kgo.Record) []*kgo.Record
		want            string // in the error; "" is none
	}{
		{"right", exactlyOnce, nil, ""},
		{"repeated", exactlyOnce, repeated, ""},
		{"moved", exactlyOnce, moved, ""},
		{"older", exactlyOnce, older, "after"},
		{"older", atLeastOnce, older, ""},
		{"lost", atLeastOnce, lost, "want"},
		{"deleted", exactlyOnce, deleted, "want"},
		{"another row", atLeastOnce, changed(func(r *kgo.Record) { r.Value[valueSize+3] ^= 1 }), "want"},
		{"another update", atLeastOnce, changed(func(r *kgo.Record) { r.Value[9] ^= 1 }), "want"},
		{"another time", atLeastOnce, changed(func(r *kgo.Record) { r.Timestamp = r.Timestamp.Add(time.Second) }), "want"},
		{"no such pair", atLeastOnce, changed(func(r *kgo.Record) { r.Value = r.Value[:valueSize] }), "no such pair"},
		{"no such key", atLeastOnce, changed(func(r *kgo.Record) { r.Key = []byte("somebody") }), "key"},
	} {
		for topology, join := range map[string]struct {
			left  updates
			right rows
		}{
			"tables": {stream{}, rows{recordsPerRow}}, "foreign-key": {orders{few}, rows{recordsPerCustomer}},
		} {
			r := row{topology: topology, guarantee: c.guarantee, cached: true}
			t.Run(c.name+", "+r.String(), func(t *testing.T) {
				t.Parallel()
				all := pairs(join.left, join.right, few)
				if c.fake != nil {
					all = c.fake(all)
				}
				err := run1(t, r, all)
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("error %v: want %q", err, c.want)
				}
			})
		}
	}
}

// TestProgress follows an output to its end.
func TestProgress(t *testing.T) {
	t.Parallel()
	all := pairs(orders{few}, rows{recordsPerCustomer}, few)
	c := newForeignCheck(true, few)
	half := -1
	for i, r := range all {
		if c.all() {
			t.Fatalf("it is through after %d outputs of %d", i, len(all))
		}
		if err := c.see(r); err != nil {
			t.Fatal(err)
		}
		if half < 0 && c.half() {
			half = i
		}
	}
	if !c.all() || half < len(all)/3 || half > len(all)*2/3 {
		t.Errorf("of %d outputs half of the updates have one after %d, and all: %v", len(all), half, c.all())
	}
}

func TestOrders(t *testing.T) {
	t.Parallel()
	o := orders{few}
	moved, again := 0, 0
	last := map[int]int{} // customer by order
	for i := range few {
		a, b := &kgo.Record{}, &kgo.Record{}
		o.fill(i, a)
		o.fill(i, b)
		key, customer, at := o.of(i)
		n, ok := numberOf(a.Value)
		if string(a.Key) != string(b.Key) || string(a.Value) != string(b.Value) || len(a.Value) != valueSize || !ok || n != i || a.Timestamp.UnixMilli() != at {
			t.Fatalf("order %d: %v and %v", i, a, b)
		}
		if got, err := keyNumber(a.Value[11:21]); err != nil || got != customer {
			t.Fatalf("order %d, %q: customer %d, %v: want %d", i, a.Value, got, err, customer)
		}
		if got, err := o.keyNumber(a.Key); err != nil || got != key {
			t.Fatalf("order %d: key %q is %d, %v: want %d", i, a.Key, got, err, key)
		}
		if before, ok := last[key]; ok {
			again++
			if before != customer {
				moved++
			}
		}
		last[key] = customer
	}
	if share := float64(moved) / float64(again); again < few/2 || share < 1./moves || share > 2./moves {
		t.Errorf("%d updates of an order that was there, of which %d name another customer", again, moved)
	}
}
