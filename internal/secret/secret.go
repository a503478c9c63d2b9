// Package secret keeps texts out of logs, errors and answers.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted stands in the place of a secret.
const Redacted = "[redacted]"

// Text is a text that must not be printed: whatever formats, marshals or logs it writes "[redacted]".
type Text struct{ text string }

// New returns the secret that holds text.
func New(text string) Text { return Text{text} }

// Reveal returns the text.
func (s Text) Reveal() string { return s.text }

// IsZero tells whether the secret is empty.
func (s Text) IsZero() bool { return s.text == "" }

// String returns "[redacted]", or "" for an empty secret.
func (s Text) String() string {
	if s.text == "" {
		return ""
	}
	return Redacted
}

// GoString returns what String does.
func (s Text) GoString() string { return s.String() }

// Format writes what String returns, whatever the verb.
func (s Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText returns what String does; encoding/json uses it too.
func (s Text) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON returns what String does, in quotes.
func (s Text) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// LogValue returns what String does.
func (s Text) LogValue() slog.Value { return slog.StringValue(s.String()) }
