package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"

	"millrace.dev/internal/app"
	"millrace.dev/internal/registry"
	"millrace.dev/model"
	"millrace.dev/record"
)

func TestNumbers(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{
		0: "0", 0.5: "0.5", -1.25: "-1.25", 999.999: "999.999", 1000: "1,000", 1234567.8: "1,234,568", -1e6: "-1,000,000", 1e-7: "1e-07", 123.456789: "123.457",
	} {
		if got := number(x); got != want {
			t.Errorf("number(%v) = %q, want %q", x, got, want)
		}
	}
	if got := number(math.NaN()); got != "-" {
		t.Errorf("number(NaN) = %q", got)
	}
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", -1000: "-1,000", -999: "-999", math.MinInt64: "-9,223,372,036,854,775,808"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "0 rows", 1: "1 row", 2: "2 rows", 12345: "12,345 rows"} {
		if got := count(n, "row"); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
	if got := tally(map[string]int{"b": 1, "a": 2000}); got != "a 2,000, b 1" {
		t.Errorf("tally: %q", got)
	}
}

func TestQuoted(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"a/b-c_1.yaml": "a/b-c_1.yaml", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$HOME": "'$HOME'", "x=1,y": "x=1,y", "é": "é", "~": "'~'",
	} {
		if got := quoted(arg); got != want {
			t.Errorf("quoted(%q) = %s, want %s", arg, got, want)
		}
	}
	if got := fileFlag("pipeline.yaml"); got != "" {
		t.Errorf("the default is named: %q", got)
	}
	if got := fileFlag("a b/pipeline.yaml"); got != " -f 'a b/pipeline.yaml'" {
		t.Errorf("got %q", got)
	}
}

// terminal returns a screen of a terminal of a width, and what was written to it.
func terminal(width int) (*screen, *bytes.Buffer) {
	var b bytes.Buffer
	s := newScreen(&b)
	s.width = func() int { return width }
	return s, &b
}

// TestScreen holds that the status line stays below what is written, and never wraps.
func TestScreen(t *testing.T) {
	t.Parallel()
	s, b := terminal(10)
	step := func(do func(), want string) {
		t.Helper()
		b.Reset()
		do()
		if got := b.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	say := func(text string) func() {
		return func() {
			if n, err := io.WriteString(s, text); n != len(text) || err != nil {
				t.Errorf("wrote %d of %d bytes: %v", n, len(text), err)
			}
		}
	}
	step(say("a\n"), "a\n")
	step(func() { s.show("status") }, eraseLine+"status")
	step(say("b\n"), eraseLine+"b\nstatus")
	step(say("half"), eraseLine+"half")
	step(func() { s.show("é-very-long-status") }, eraseLine+"é-very-") // with room for ^C
	step(func() { s.show("") }, eraseLine)
	step(say("c\n"), "c\n")

	var plain bytes.Buffer
	p := newScreen(&plain)
	p.show("status")
	if plain.Len() > 0 || isTerminal(p) || !isTerminal(s) {
		t.Errorf("a status without a terminal: %q", plain.String())
	}
	if n, err := (&screen{w: closed{}, width: s.width, status: "x"}).Write([]byte("y")); n != 0 || err == nil {
		t.Errorf("a broken terminal: %d, %v", n, err)
	}
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestProgress(t *testing.T) {
	t.Parallel()
	s, b := terminal(80)
	c := &cli{err: s}
	show, done := c.progress("training")
	show("tree 1")
	show("tree 2") // too soon
	done()
	if got := b.String(); got != eraseLine+"training: tree 1"+eraseLine {
		t.Errorf("got %q", got)
	}
}

// run runs a command line in this process.
func run(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

func TestMainInProcess(t *testing.T) {
	t.Parallel()
	if code, out, err := run("version"); code != 0 || !strings.HasPrefix(out, "millrace ") || err != "" {
		t.Errorf("version: %d, %q, %q", code, out, err)
	}
	if code, out, err := run("trian"); code != 2 || out != "" || !strings.Contains(err, "did you mean millrace train?") {
		t.Errorf("trian: %d, %q, %q", code, out, err)
	}
}

// TestSignal holds that SIGTERM ends a command in good order, with the code of a shell.
func TestSignal(t *testing.T) {
	ctx, stop := signals()
	defer stop()
	if signalCode(ctx, nil) != 0 {
		t.Fatal("a signal before there was one")
	}
	p, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Skip("no signals here: ", err)
	}
	<-ctx.Done()
	for err, want := range map[error]int{nil: 143, context.Cause(ctx): 143, context.Canceled: 143, errors.New("boom"): 0} {
		if got := signalCode(ctx, err); got != want {
			t.Errorf("with the error %v the code is %d, want %d", err, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"":                                 nil,
		"millrace: boom\n":                 errors.New("boom"),
		"millrace: op: boom\n  hint: do\n": &app.Error{Code: app.Usage, Op: "op", Err: errors.New("boom"), Hint: "do"},
	} {
		var b bytes.Buffer
		c := &cli{err: newScreen(&b)}
		if c.report(err); b.String() != want {
			t.Errorf("got %q, want %q", b.String(), want)
		}
	}
}

func TestTrainedJSON(t *testing.T) {
	t.Parallel()
	s := model.Scores{RMSE: 1.5, MAE: 1, R2: math.NaN(), LabelMean: 7, Rows: 9}
	var b bytes.Buffer
	c := &cli{out: &b}
	err := c.printJSON(trainedJSON(&app.Trained{
		Model: "houses@1", Digest: "sha256:00", Rows: model.Rows{Read: 10, Excluded: 1, Train: 6, Validation: 2, Test: 1, Reasons: []model.Exclusion{{Reason: "x", Rows: 1}}},
		Metrics: model.Metrics{Train: s, Validation: s, Test: model.Scores{RMSE: math.Inf(1), MAE: math.NaN(), R2: 0.25}}, Data: "a.csv",
	}))
	const want = `{"model":"houses@1","digest":"sha256:00","rows":{"read":10,"excluded":1,"train":6,"validation":2,"test":1},` +
		`"metrics":{"train":{"rmse":1.5,"mae":1,"r2":null},"validation":{"rmse":1.5,"mae":1,"r2":null},"test":{"rmse":null,"mae":null,"r2":0.25}}}` + "\n"
	if err != nil || b.String() != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, b.String(), want)
	}
}

func TestPrintRecord(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		raw         record.Raw
		plain, json string
	}{
		"json":    {record.Raw{Key: []byte("k"), Value: []byte(`{"a": "<&>"}`)}, `{"a": "<&>"}`, `"key":"k","value":{"a":"<&>"}`},
		"text":    {record.Raw{Value: []byte("<a>")}, "<a>", `"key":null,"value":null,"text":"<a>"`},
		"null":    {record.Raw{Key: []byte{}}, "", `"key":"","value":null`},
		"binary":  {record.Raw{Key: []byte{0xff}, Value: []byte{0xfe, 1}}, "\xfe\x01", `"key":null,"key_base64":"/w==","value":null,"base64":"/gE="`},
		"headers": {record.Raw{Headers: []record.Header{{Key: "h", Value: []byte("v")}}, Value: []byte("1")}, "1", `"key":null,"headers":[["h","v"]],"value":1`},
	} {
		tc.raw.Topic, tc.raw.Partition, tc.raw.Offset, tc.raw.Timestamp = "t", 3, 4, 5
		for _, asJSON := range []bool{false, true} {
			var b bytes.Buffer
			out := bufio.NewWriter(&b)
			if err := (&cli{json: asJSON}).printRecord(out, &tc.raw); err != nil {
				t.Fatal(err)
			}
			if err := out.Flush(); err != nil {
				t.Fatal(err)
			}
			want := tc.plain + "\n"
			if asJSON {
				want = `{"topic":"t","partition":3,"offset":4,"timestamp":5,` + tc.json + "}\n"
				if !json.Valid(b.Bytes()) {
					t.Errorf("%s: no JSON", name)
				}
			}
			if b.String() != want {
				t.Errorf("%s:\ngot  %swant %s", name, b.String(), want)
			}
		}
	}
}

// TestWatchReader holds that a command learns that its output is not read any more, without writing to it.
func TestWatchReader(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // nothing was written
	gone := make(chan struct{})
	stop := watchReader(w, func() { close(gone) })
	defer stop()
	select {
	case <-gone:
		t.Fatal("gone while there is a reader")
	default:
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-t.Context().Done():
	}
	watchReader(io.Discard, func() { t.Error("a writer without an end") })()
	devnull, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer devnull.Close() //nolint:errcheck // nothing was written
	watchReader(devnull, func() { t.Error("a device is gone") })()
}

func TestNextAfterTraining(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		trained app.Trained
		set     []string
		want    string
	}{
		"candidate": {
			app.Trained{State: registry.StateCandidate, File: "pipeline.yaml"},
			nil,
			"next: look at it, then decide:\n  millrace report houses@1 --html report.html\n  millrace model approve houses@1 --by NAME --reason TEXT\n",
		},
		"approved": {app.Trained{State: registry.StateApproved, File: "a b.yaml"}, []string{"group=x"}, "it is approved; next:\n  millrace run -f 'a b.yaml' --set group=x\n"},
	} {
		var b bytes.Buffer
		c := &cli{err: newScreen(&b), set: tc.set}
		tc.trained.Model = "houses@1"
		if c.printNext(&tc.trained); b.String() != tc.want {
			t.Errorf("%s: got\n%swant\n%s", name, b.String(), tc.want)
		}
	}
}

// TestFlagsHaveHelp wants every flag to say what it does, and every command to have a short description.
func TestFlagsHaveHelp(t *testing.T) {
	t.Parallel()
	code, out, _ := run("help")
	if code != 0 {
		t.Fatal("no help")
	}
	_, list, _ := strings.Cut(out, "Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for line := range strings.Lines(list) {
		name, short, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.TrimSpace(short) == "" {
			t.Errorf("%q has no description", line)
		}
		code, out, stderr := run("help", name)
		if code != 0 || stderr != "" || !strings.Contains(out, "Usage:\n  millrace "+name) {
			t.Errorf("help %s: code %d, %q", name, code, stderr)
		}
		for line := range strings.Lines(out) {
			if len(line) > 130 && strings.HasPrefix(strings.TrimSpace(line), "-") {
				t.Errorf("help %s: a line of %d bytes: %s", name, len(line), line)
			}
		}
	}
}
