package store

import "testing"

func TestFull(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		usage Usage
		want  bool
	}{
		{Usage{}, false},
		{Usage{Limit: 64 << 20, Disk: 16 << 20, Rows: 48 << 20}, false},
		{Usage{Limit: 64 << 20, Disk: 16 << 20, Memory: 30 << 20, Globals: 9 << 20}, false},
		{Usage{Limit: 64 << 20, Disk: 16 << 20, Memory: 30 << 20, Globals: 11 << 20}, true},
	} {
		if got := x.usage.Full(); got != x.want {
			t.Errorf("%+v: %v", x.usage, got)
		}
	}
}

// TestFileBytes: what is set aside for files is what the options say.
func TestFileBytes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		dir         string
		files, want int64
	}{{"", 12 << 20, 0}, {t.TempDir(), 12 << 20, 12 << 20}, {t.TempDir(), 0, 4 << 20}} {
		db, err := Open(tc.dir, Options{MemoryBytes: 16 << 20, FileBytes: tc.files})
		if err != nil {
			t.Fatal(err)
		}
		if n := db.Budget().Usage().Disk; n != tc.want {
			t.Errorf("folder %q, FileBytes %d: %d bytes, want %d", tc.dir, tc.files, n, tc.want)
		}
		if n := db.memTable; tc.want > 0 && n != tc.want/4 {
			t.Errorf("memtables have %d bytes, a quarter of %d is for each", n, tc.want)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBudget follows what a task takes from its first write to its end.
func TestBudget(t *testing.T) {
	t.Parallel()
	db, err := Open(t.TempDir(), Options{MemoryBytes: leastMemory})
	if err != nil {
		t.Fatal(err)
	}
	task, err := db.Task("0_0")
	if err != nil {
		t.Fatal(err)
	}
	onDisk, err := task.Store(Spec{Name: "disk"})
	if err != nil {
		t.Fatal(err)
	}
	inMemory, err := task.Store(Spec{Name: "memory", Backend: Memory})
	if err != nil {
		t.Fatal(err)
	}
	rows := onDisk.NewCache(func(int64) {})
	b := db.Budget()
	value := make([]byte, 100_000)
	for i := range byte(20) {
		if b.CommitNow() {
			t.Fatalf("a commit is asked for after %d writes of 100 kB: %+v", i, b.Usage())
		}
		rows.Add(100_000, 0)
		if err := onDisk.Put([]byte{i}, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := inMemory.Put([]byte{0}, value); err != nil {
		t.Fatal(err)
	}
	if u := b.Usage(); !b.CommitNow() || u.Writes < 4_000_000 || u.Rows != 2_000_000 || u.Disk != leastFiles {
		t.Errorf("with 2.1 MB to be committed: %+v", u)
	}
	task.Seal()
	if b.CommitNow() {
		t.Errorf("another commit is asked for: %+v", b.Usage())
	}
	if err := task.Commit(nil); err != nil {
		t.Fatal(err)
	}
	if u := b.Usage(); u.Memory < 100_000 || u.Memory > 101_000 || u.Writes > 2_200_000 {
		t.Errorf("after the commit: %+v", u)
	}
	task.Rollback()
	if u := b.Usage(); u.Rows != 0 {
		t.Errorf("after a rollback: %+v", u)
	}
	if err := task.Close(); err != nil {
		t.Fatal(err)
	}
	if u := b.Usage(); u.Writes+u.Rows+u.Memory+u.Waiting != 0 || u.Peak < 6_000_000 {
		t.Errorf("at the end: %+v", u)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
