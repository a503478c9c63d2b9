package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"millrace": main})
}

// TestScript runs the scripts of testdata/script. Besides the commands of testscript they have these:
//
//	exits CODE COMMAND...   runs a command, which has to exit with CODE
//	term                    sends SIGTERM to the commands in the background
//	code CODE               wants the commands that term has ended to have exited with CODE; wait comes before it
//	houses FILE N SEED      writes N made-up house sales: .csv, .csv.gz, .parquet, .sold.jsonl, or .jsonl without their prices
//	project DIR             makes a folder with houses.csv, pipeline.yaml, and houses@1 trained and approved
//	broker [ADDRESS]        starts a development broker, and sets $KAFKA_BROKERS to its address
//	bucket                  starts an S3 server, and sets $BUCKET to the location of a registry on it, and credentials
//	topic NAME PARTITIONS   makes a topic
//	await TOPIC N           waits until a topic holds N committed records
//	answers URL TEXT        waits until an HTTP server answers with TEXT at the beginning
//	post URL FILE OUT       posts a file as JSON, when an HTTP server answers, and writes the answer to another
//	listens ADDRESS         waits until a broker answers at an address
//	holds FILE TEXT         waits until a file holds a text
//	freeport VARIABLE       sets VARIABLE to 127.0.0.1 and a free port
//	flip PATH               flips a bit in the middle of a file, or of every file below a folder
//	replace FILE OLD NEW    replaces a text in a file, which has it once
//	swap FILE OLD NEW       replaces a text wherever a file has it
func TestScript(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", "script"),
		UpdateScripts:       os.Getenv("MILLRACE_UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("MILLRACE_USER", "ada")
			e.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")) // under the race detector each command would sleep a second at its end
			e.Values[stateKey{}] = &state{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "term": term, "code": code, "houses": houses, "project": f.project, "broker": broker, "bucket": bucket, "topic": topic,
			"await": await, "answers": answers, "post": post, "listens": listens, "holds": holds, "freeport": freeport, "flip": flip, "replace": replace, "swap": swap,
		},
	})
}
