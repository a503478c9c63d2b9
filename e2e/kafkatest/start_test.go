//go:build unix

package kafkatest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestPortTaken(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	c := &Cluster{opts: Options{Brokers: 1, HeapMB: 256}, tools: findTools(ctx, t), id: newClusterID()}
	if err := c.place(ctx, t.TempDir(), t.ArtifactDir()); err != nil {
		t.Fatal(err)
	}
	defer c.release()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", c.nodes[0].client.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := c.start(ctx); !errors.Is(err, errPortTaken) {
		t.Errorf("got %v, want %v\n%s", err, errPortTaken, c.tails())
	}
}

func TestLeases(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 200 {
		l, err := leasePort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer l.release()
		if seen[l.port] || l.port < firstPort || l.port >= firstPort+portCount {
			t.Errorf("port %d", l.port)
		}
		seen[l.port] = true
	}
}

func TestJavaMajor(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]int{
		"openjdk version \"17.0.15\" 2025-04-15\n": 17,
		"java version \"1.8.0_402\"\n":             8,
		"openjdk version \"21\" 2023-09-19\n":      21,
		"openjdk version \"24-ea\" 2025-03-18\n":   24,
		"The program java can be found in\n":       0,
	} {
		got, err := javaMajor(out)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", out, got, err)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if want := "<artifactId>kafka_2.13</artifactId>\n      <version>" + Version + "</version>"; !strings.Contains(string(pom), want) {
		t.Errorf("pom.xml does not have %q", want)
	}
}

// fakeMaven puts a mvn on the path that writes a jar, or fails, and notes each run in the file it returns.
func fakeMaven(t *testing.T, script string) (runs string) {
	t.Helper()
	bin := t.TempDir()
	runs = filepath.Join(bin, "runs")
	text := fmt.Sprintf("#!/bin/sh\necho x >> %s\nfor a; do case $a in -DoutputDirectory=*) out=${a#*=};; esac; done\n%s\n", runs, script)
	if err := os.WriteFile(filepath.Join(bin, "mvn"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return runs
}

func TestFetchOnce(t *testing.T) {
	runs := fakeMaven(t, "mkdir $out && : > $out/kafka_2.13-"+Version+".jar")
	lib := filepath.Join(t.TempDir(), "deep", "lib")
	t.Setenv(LibEnv, lib)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := findLib(t.Context())
			if err != nil || got != lib || !hasBroker(got) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
	if b, err := os.ReadFile(runs); err != nil || string(b) != "x\n" {
		t.Errorf("runs of Maven: %q, %v", b, err)
	}
	left, err := os.ReadDir(filepath.Dir(lib))
	if err != nil || len(left) != 2 {
		t.Errorf("want the folder and its lock alone: %v, %v", left, err)
	}
}

func TestFetchFails(t *testing.T) {
	for name, script := range map[string]string{
		"exit":    "echo 'no route to repository'; mkdir $out; exit 1",
		"no jars": "mkdir $out",
	} {
		fakeMaven(t, script)
		lib := filepath.Join(t.TempDir(), "lib")
		t.Setenv(LibEnv, lib)
		if _, err := findLib(t.Context()); err == nil || name == "exit" && !strings.Contains(err.Error(), "no route to repository") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(lib); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the folder is there: %v", name, err)
		}
	}
}

// TestWithoutJava looks at what a test prints where there is no Java.
func TestWithoutJava(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ require, want string }{
		{"", "--- SKIP"},
		{"data", "--- SKIP"},
		{"data,kafka", "--- FAIL"},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOrphanChild$", "-test.v")
		cmd.Env = []string{childEnv + "=1", "PATH=/nowhere", "MILLRACE_REQUIRE=" + c.require}
		out, err := cmd.CombinedOutput()
		if text := string(out); !strings.Contains(text, c.want) || !strings.Contains(text, "install Java 17") || (err == nil) != (c.want == "--- SKIP") {
			t.Errorf("MILLRACE_REQUIRE=%q: %v\n%s", c.require, err, text)
		}
	}
}
