package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
)

// benchKeys returns n keys of 16 bytes in random order, which begin alike, as keys of one kind do.
func benchKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i, p := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		keys[i] = fmt.Appendf(nil, "customer%08d", p)
	}
	return keys
}

func benchStore(tb testing.TB, backend Backend) (*DB, *Task, *Store) {
	tb.Helper()
	dir := ""
	if backend == Disk {
		dir = tb.TempDir()
	}
	db, err := Open(dir, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	task, err := db.Task("0_0")
	if err != nil {
		tb.Fatal(err)
	}
	s, err := task.Store(Spec{Name: "counts", Backend: backend, Logged: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := task.Close(); err != nil {
			tb.Error(err)
		}
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db, task, s
}

func backends() map[string]Backend { return map[string]Backend{"disk": Disk, "memory": Memory} }

// fillBase commits the keys with values of 32 bytes.
func fillBase(tb testing.TB, t *Task, s *Store, keys [][]byte) {
	tb.Helper()
	value := make([]byte, 32)
	for i, k := range keys {
		binary.BigEndian.PutUint64(value, uint64(i))
		if err := s.Put(k, value); err != nil {
			tb.Fatal(err)
		}
		if i%10_000 == 9_999 || i == len(keys)-1 {
			t.Seal()
			if err := t.Commit(map[string]int64{"counts": int64(i)}); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

func BenchmarkOverlayGet(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			_, _, s := benchStore(b, Memory)
			keys := benchKeys(n)
			for _, k := range keys {
				if err := s.Put(k, k); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if v, err := s.Get(keys[i%n]); err != nil || v == nil {
					b.Fatal("nothing", err)
				}
			}
		})
	}
}

// BenchmarkOverlayPut writes keys for the first time in a generation, and again; rounds includes what a commit asks
// for: the changes in order, and the seal.
func BenchmarkOverlayPut(b *testing.B) {
	const n = 10_000
	keys, value := benchKeys(n), make([]byte, 32)
	b.Run("again", func(b *testing.B) {
		_, _, s := benchStore(b, Memory)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := s.Put(keys[i%n], value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("rounds", func(b *testing.B) {
		_, t, s := benchStore(b, Memory)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := s.Put(keys[i%n], value); err != nil {
				b.Fatal(err)
			}
			if i%n == n-1 {
				if err := t.Changes(func(string, []byte, []byte) error { return nil }); err != nil {
					b.Fatal(err)
				}
				t.Seal()
				t.Rollback()
			}
		}
	})
}

func BenchmarkBaseGet(b *testing.B) {
	for name, backend := range backends() {
		for _, n := range []int{10_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				db, t, s := benchStore(b, backend)
				keys := benchKeys(n)
				fillBase(b, t, s, keys)
				if err := db.Flush(); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if v, err := s.Get(keys[i*7919%n]); err != nil || v == nil {
						b.Fatal("nothing", err)
					}
				}
			})
		}
	}
}

// BenchmarkBaseMiss asks for keys that are not there.
func BenchmarkBaseMiss(b *testing.B) {
	for name, backend := range backends() {
		b.Run(name, func(b *testing.B) {
			const n = 1_000_000
			db, t, s := benchStore(b, backend)
			keys := benchKeys(n)
			fillBase(b, t, s, keys)
			if err := db.Flush(); err != nil {
				b.Fatal(err)
			}
			key := make([]byte, 17)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				copy(key, keys[i*7919%n])
				if v, err := s.Get(key); err != nil || v != nil {
					b.Fatal("something", err)
				}
			}
		})
	}
}

// BenchmarkCommit writes and commits 10,000 keys, of 1,000,000 that the base has.
func BenchmarkCommit(b *testing.B) {
	for name, backend := range backends() {
		for _, n := range []int{10_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				_, t, s := benchStore(b, backend)
				keys, value := benchKeys(n), make([]byte, 32)
				fillBase(b, t, s, keys)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					for j := range 10_000 {
						if err := s.Put(keys[(i*10_000+j)%n], value); err != nil {
							b.Fatal(err)
						}
					}
					t.Seal()
					if err := t.Commit(map[string]int64{"counts": int64(i)}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/write")
			})
		}
	}
}

// BenchmarkScan looks at ten keys, as a windowed join does for each record: among a base of 100,000 keys, without
// and with writes that are not committed, and with a write before each scan.
func BenchmarkScan(b *testing.B) {
	const n = 100_000
	for name, backend := range backends() {
		for _, uncommitted := range []int{0, 100, 10_000} {
			for _, writes := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/uncommitted=%d/writes=%t", name, uncommitted, writes), func(b *testing.B) {
					db, t, s := benchStore(b, backend)
					keys, to := benchKeys(n), make([]byte, 16)
					fillBase(b, t, s, keys)
					if err := db.Flush(); err != nil {
						b.Fatal(err)
					}
					for _, k := range keys[:uncommitted] {
						if err := s.Put(k, k); err != nil {
							b.Fatal(err)
						}
					}
					found := 0
					count := func(_, _ []byte) (bool, error) {
						found++
						return true, nil
					}
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						from := keys[i*7919%n]
						to = append(to[:0], from...)
						to[len(to)-2]++
						if writes {
							if err := s.Put(from, from); err != nil {
								b.Fatal(err)
							}
						}
						if err := s.Scan(from, to, count); err != nil {
							b.Fatal(err)
						}
					}
					if found < b.N {
						b.Fatal("nothing found")
					}
				})
			}
		}
	}
}
