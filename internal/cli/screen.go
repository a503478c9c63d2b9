package cli

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// screen is standard error. On a terminal it has a status line at its end, which stays below what is written. It is
// safe for concurrent use.
type screen struct {
	w     io.Writer
	width func() int // of the terminal, in columns; nil where there is none

	mu     sync.Mutex
	status string
}

const eraseLine = "\r\x1b[K"

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		s.width = func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil || width < 1 {
				return 80
			}
			return width
		}
	}
	return s
}

// Write writes p above the status line.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == "" {
		return s.w.Write(p)
	}
	if _, err := io.WriteString(s.w, eraseLine); err != nil {
		return 0, err
	}
	n, err := s.w.Write(p)
	if err == nil && n > 0 && p[n-1] == '\n' {
		_, err = io.WriteString(s.w, s.status)
	}
	return n, err
}

// show sets the status line, "" takes it away. Without a terminal there is none.
func (s *screen) show(status string) {
	if s.width == nil {
		return
	}
	// A line that wraps could not be erased; the terminal adds ^C to it when somebody presses Ctrl-C.
	if text, most := []rune(status), max(0, s.width()-len("^C")-1); len(text) > most {
		status = string(text[:most])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
	_, _ = io.WriteString(s.w, eraseLine+status) // nobody to tell
}

// isTerminal tells whether a person sees what is written to w.
func isTerminal(w io.Writer) bool {
	if s, ok := w.(*screen); ok {
		return s.width != nil
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
