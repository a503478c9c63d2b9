package devbroker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// childEnv makes the test binary a broker on the folder that it names.
const childEnv = "MILLRACE_DEVBROKER_DIR"

// child runs a broker until it is killed or its parent is gone.
func child(dir string) {
	b, err := Start(context.Background(), Options{Dir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(b.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(2)
}

// spawn starts a child and returns its address and a function that kills it.
func spawn(t *testing.T, dir string) (addr string, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("the child ended by itself")
		}
	})
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if addr = strings.TrimSpace(line); err != nil || !strings.HasPrefix(addr, "127.0.0.1:") {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return addr, kill
}

// TestKill kills a broker in the middle of its work, twice, and finds all that was acknowledged.
func TestKill(t *testing.T) {
	t.Parallel()
	ctx, dir := deadline(t), t.TempDir()
	acked := map[string]bool{}
	for round := range int64(2) { // the second round begins with the files of a crash
		addr, kill := spawn(t, dir)
		cl := client(t, addr, kgo.AllowAutoTopicCreation())
		put(ctx, t, cl, "auto", fmt.Sprint("first of round ", round))
		acked[fmt.Sprint("first of round ", round)] = true
		commitOffset(ctx, t, cl, "g", "auto", round+5)

		tx := client(t, addr, kgo.TransactionalID("t"), kgo.AllowAutoTopicCreation())
		for _, v := range []string{"committed", "open"} {
			if err := tx.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			put(ctx, t, tx, "transactions", fmt.Sprint(v, round))
			if v == "committed" {
				if err := tx.EndTransaction(ctx, kgo.TryCommit); err != nil {
					t.Fatal(err)
				}
			}
		}
		for v := range flood(ctx, cl, fmt.Sprint("round", round), kill) {
			acked[v] = true
		}
	}

	b := open(t, Options{Dir: dir})
	cl := client(t, b.Addr())
	put(ctx, t, cl, "transactions", "after")
	got := strings.Join(committed(ctx, t, b.Addr(), 3, "transactions"), " ")
	if got != "committed0 committed1 after" {
		t.Errorf("transactions: %s", got)
	}
	if at := fetchOffset(ctx, t, cl, "g", "auto"); at != 6 {
		t.Errorf("offset of the group: %d", at)
	}
	end, err := kadm.NewClient(cl).ListEndOffsets(ctx, "auto")
	if err != nil {
		t.Fatal(err)
	}
	o, _ := end.Lookup("auto", 0)
	for _, v := range committed(ctx, t, b.Addr(), int(o.Offset), "auto") {
		delete(acked, v)
	}
	if len(acked) > 0 {
		t.Errorf("%d acknowledged records are lost", len(acked))
	}
}

// flood produces without a pause, kills the broker once a hundred records are acknowledged, and returns all
// values that were acknowledged.
func flood(ctx context.Context, cl *kgo.Client, prefix string, kill func()) map[string]bool {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	acked, enough := map[string]bool{}, make(chan struct{})
	killed := make(chan struct{})
	go func() {
		<-enough
		kill()
		stop()
		close(killed)
	}()
	var sent sync.WaitGroup
	for i := 0; ctx.Err() == nil; i++ {
		v := fmt.Sprint(prefix, " ", i)
		sent.Add(1)
		cl.Produce(ctx, &kgo.Record{Topic: "auto", Value: []byte(v)}, func(_ *kgo.Record, err error) {
			defer sent.Done()
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if acked[v] = true; len(acked) == 100 {
				close(enough)
			}
		})
	}
	<-killed
	cl.Close() // fails what is still buffered
	sent.Wait()
	return acked
}

// TestKillAfterClose leaves a transaction open across a Close, which keeps it, and then a kill, which ends it.
func TestKillAfterClose(t *testing.T) {
	t.Parallel()
	ctx, dir := deadline(t), t.TempDir()
	b := open(t, Options{Dir: dir})
	if err := b.CreateTopic("houses", 1, nil); err != nil {
		t.Fatal(err)
	}
	begin := func(b *Broker, id, value string) *kgo.Client {
		tx := client(t, b.Addr(), kgo.TransactionalID(id))
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		put(ctx, t, tx, "houses", value)
		return tx
	}
	kept := begin(b, "kept", "kept")
	begin(b, "dead", "dead")
	addr := b.Addr()
	shut(t, b)

	b = open(t, Options{Dir: dir, Addr: addr})
	if err := kept.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatalf("a transaction that was open across Close: %v", err)
	}
	shut(t, b)
	_, kill := spawn(t, dir) // nothing is written
	kill()

	b = open(t, Options{Dir: dir})
	cl := client(t, b.Addr(), kgo.TransactionalID("dead"))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	put(ctx, t, cl, "houses", "after")
	if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(committed(ctx, t, b.Addr(), 2, "houses"), " "); got != "kept after" {
		t.Errorf("got %s", got)
	}
}
