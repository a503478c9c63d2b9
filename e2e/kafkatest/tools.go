//go:build unix

package kafkatest

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"millrace.dev/internal/testenv"
)

// Version is the version of Apache Kafka that the tests run, as pom.xml has it.
const Version = "4.3.1"

// LibEnv is the environment variable that names the folder of the broker's jars. Where there is no such folder
// yet, Maven makes it. Default: millrace/kafka-<Version>-<digest of pom.xml> in the user's cache folder.
const LibEnv = "MILLRACE_KAFKA_LIB"

const minJava = 17

//go:embed pom.xml
var pom []byte

// tools are what it takes to run a broker.
type tools struct{ java, lib string }

// findTools looks for Java and the jars, fetches the jars when they are not there, and ends the test through
// [testenv.Missing] where that cannot be done or the run is a short one.
func findTools(ctx context.Context, t testing.TB) tools {
	t.Helper()
	if testing.Short() {
		testenv.Missing(t, "kafka", "this run is -short, which starts no brokers")
	}
	java, err := findJava(ctx)
	if err != nil {
		testenv.Missing(t, "kafka", fmt.Sprintf("%v: install Java %d or newer (Debian: apt-get install openjdk-17-jre-headless)", err, minJava))
	}
	lib, err := findLib(ctx)
	if err != nil {
		testenv.Missing(t, "kafka", fmt.Sprintf("%v: install Maven (Debian: apt-get install maven), or set %s to a folder with the jars of e2e/kafkatest/pom.xml", err, LibEnv))
	}
	return tools{java: java, lib: lib}
}

func findJava(ctx context.Context) (string, error) {
	java := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java = filepath.Join(home, "bin", "java")
	}
	java, err := exec.LookPath(java)
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s -version: %w", java, err)
	}
	major, err := javaMajor(string(out))
	if err != nil {
		return "", fmt.Errorf("%s: %w", java, err)
	}
	if major < minJava {
		return "", fmt.Errorf("%s is Java %d", java, major)
	}
	return java, nil
}

// javaMajor reads the major version out of what `java -version` prints: version "17.0.15" or "1.8.0_402".
func javaMajor(out string) (int, error) {
	m := regexp.MustCompile(`version "(?:1\.)?(\d+)`).FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("no version in %q", out)
	}
	return strconv.Atoi(m[1])
}

// findLib returns the folder of the jars, which it makes when it is not there. Processes that start at once
// wait for the first one, and a folder under its final name is always whole.
func findLib(ctx context.Context) (string, error) {
	lib := os.Getenv(LibEnv)
	if lib == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(pom)
		lib = filepath.Join(cache, "millrace", "kafka-"+Version+"-"+hex.EncodeToString(sum[:4]))
	}
	lib, err := filepath.Abs(lib)
	if err != nil {
		return "", err
	}
	if hasBroker(lib) {
		return lib, nil
	}
	if err := os.MkdirAll(filepath.Dir(lib), 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(ctx, lib+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if hasBroker(lib) {
		return lib, nil
	}
	return lib, fetch(ctx, lib)
}

func hasBroker(lib string) bool {
	_, err := os.Stat(filepath.Join(lib, "kafka_2.13-"+Version+".jar"))
	return err == nil
}

// lockFile waits for the lock on the file called name, which it creates. The system drops the lock when the
// process dies; the file stays, since removing it would let two processes lock two files of one name.
func lockFile(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = poll(ctx, func() (bool, error) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { _ = f.Close() }, nil
}

// fetch has Maven copy the jars into a new folder, and renames it to lib.
func fetch(ctx context.Context, lib string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(lib), filepath.Base(lib)+".tmp-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	file := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(file, pom, 0o644); err != nil {
		return err
	}
	jars := filepath.Join(tmp, "lib")
	cmd := exec.CommandContext(ctx, mvn, "-q", "-B", "-f", file, "dependency:copy-dependencies", "-DoutputDirectory="+jars)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mvn dependency:copy-dependencies: %w: %s", err, tail(string(out), 5))
	}
	if !hasBroker(jars) {
		return fmt.Errorf("mvn dependency:copy-dependencies has brought no Kafka %s", Version)
	}
	return os.Rename(jars, lib)
}
