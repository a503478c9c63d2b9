package picture

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"millrace.dev/internal/testenv"
)

// browser is a headless Chromium, spoken to over a pipe in the DevTools protocol.
type browser struct {
	t       *testing.T
	in      io.Writer
	out     *bufio.Reader
	session string
	n       int
}

// newBrowser starts a Chromium that ends with the test. Where there is none the test is skipped.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{os.Getenv("MILLRACE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); name != "" && err == nil {
			path = found
			break
		}
	}
	if path == "" {
		testenv.Missing(t, "chromium", "install Chromium (Debian: chromium), or set MILLRACE_CHROMIUM to the program")
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, kill := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute) // it is told to end, so that its files are left alone then
	cmd := exec.CommandContext(ctx, path, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
		"--no-first-run", "--remote-debugging-pipe", "--user-data-dir="+filepath.Join(t.TempDir(), "chromium"), "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	if err := cmd.Start(); err != nil {
		kill()
		t.Fatal(err)
	}
	_, _ = theirIn.Close(), theirOut.Close() // the child has them
	b := &browser{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		defer kill()
		b.session = ""
		b.call("Browser.close", nil, nil)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		_, _ = in.Close(), out.Close()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Page.enable", nil, nil)
	return b
}

// message is an answer or an event.
type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

func (b *browser) receive() message {
	b.t.Helper()
	text, err := b.out.ReadBytes(0)
	if err != nil {
		b.t.Fatal("the browser has ended: ", err)
	}
	var m message
	if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
		b.t.Fatal(err)
	}
	return m
}

// call calls a method and reads its result; result may be nil.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.n++
	request := map[string]any{"id": b.n, "method": method, "params": params}
	if params == nil {
		request["params"] = map[string]any{}
	}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	text, err := json.Marshal(request)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		m := b.receive()
		if m.ID != b.n {
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// emulate says what the page is shown for: the media is screen or print.
func (b *browser) emulate(media, scheme string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": media, "features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// open shows a page in a width and a colour scheme, and waits until it is there.
func (b *browser) open(path string, width int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.emulate("screen", scheme)
	b.call("Page.navigate", map[string]any{"url": "file://" + path}, nil)
	for b.receive().Method != "Page.loadEventFired" {
		continue
	}
}

// eval returns the value of an expression of JavaScript.
func (b *browser) eval(expression string, result any) {
	b.t.Helper()
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &out)
	if out.ExceptionDetails != nil {
		b.t.Fatalf("%s", out.ExceptionDetails)
	}
	if err := json.Unmarshal(out.Result.Value, result); err != nil {
		b.t.Fatal(err)
	}
}

// settle waits until what was changed is shown: styles can lag a frame behind.
func (b *browser) settle() {
	b.t.Helper()
	var ok bool
	b.eval("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))", &ok)
}

// screenshot returns the whole page as a PNG.
func (b *browser) screenshot(width int) []byte {
	b.t.Helper()
	var height float64
	b.eval("document.documentElement.scrollHeight", &height)
	var out struct{ Data []byte }
	clip := map[string]any{"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true, "clip": clip}, &out)
	return out.Data
}

// fault is something that the script of this package finds wrong with a page.
type fault struct{ What, Text, Other string }

func (f fault) String() string { return fmt.Sprintf("%s: %.80q %.80q", f.What, f.Text, f.Other) }
