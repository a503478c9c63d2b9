package devbroker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
)

// maxErrors is how many errors are remembered: the first ones tell the most.
const maxErrors = 10

// logger passes on what kfake has to say, and remembers errors: kfake's Close returns none.
type logger struct {
	to   *slog.Logger
	mu   sync.Mutex
	errs []error
}

// Logf implements [kfake.Logger].
func (l *logger) Logf(level kfake.LogLevel, format string, args ...any) {
	var to slog.Level
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	default:
		to = slog.LevelDebug
	}
	ctx := context.Background()
	if level != kfake.LogLevelError && !l.to.Enabled(ctx, to) {
		return // before the text is made
	}
	text := fmt.Sprintf(format, args...)
	if level == kfake.LogLevelError {
		l.mu.Lock()
		if len(l.errs) < maxErrors {
			l.errs = append(l.errs, errors.New(text))
		}
		l.mu.Unlock()
	}
	l.to.LogAttrs(ctx, to, "development broker", slog.String("detail", text))
}

// failed returns the errors so far, joined.
func (l *logger) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.errs...)
}
