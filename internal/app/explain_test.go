package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"millrace.dev/internal/config"
	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/source"
	"millrace.dev/model"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	candidate := registry.Version{Model: "houses", Number: 1, State: registry.StateCandidate}.CheckApproved()
	wrap := func(err error) error { return fmt.Errorf("something: %w", err) }
	for name, tc := range map[string]struct {
		err  error
		code Code
		hint string // its beginning
	}{
		"nothing":             {nil, OK, ""},
		"unknown":             {errors.New("boom"), Failed, ""},
		"own":                 {wrap(&Error{Code: Refused, Err: errors.New("x"), Hint: "do"}), Refused, "do"},
		"own around another":  {&Error{Code: Usage, Err: candidate, Hint: "mine"}, Usage, "mine"},
		"kafka: away":         {wrap(&kafka.Error{Code: kafka.CodeUnavailable, Hint: "look"}), Failed, "look"},
		"kafka: no topic":     {wrap(&kafka.Error{Code: kafka.CodeUnknownTopic}), Usage, ""},
		"kafka: no ACL":       {wrap(&kafka.Error{Code: kafka.CodeUnauthorized}), Usage, ""},
		"pipeline file":       {config.Problems{{Message: "x"}}, Usage, ""},
		"data":                {wrap(&source.DataError{Err: errors.New("x"), Hint: "mend"}), Usage, "mend"},
		"data that fits not":  {wrap(&source.DataError{Err: errors.New("x"), Unfit: true}), Refused, ""},
		"not approved":        {wrap(candidate), Refused, "approve it: millrace model approve houses@1"},
		"golden rows":         {wrap(pipeline.ErrGolden), Refused, "train the model again"},
		"damaged bundle":      {wrap(model.ErrCorrupt), Refused, "the file is not what was written"},
		"damaged registry":    {wrap(registry.ErrCorrupt), Refused, "the file is not what was written"},
		"no such model":       {wrap(registry.ErrNotFound), Usage, ""},
		"wrong reference":     {wrap(registry.ErrInvalid), Usage, ""},
		"rejected":            {wrap(registry.ErrRejected), Usage, ""},
		"later registry":      {wrap(registry.ErrNewer), Usage, ""},
		"later bundle":        {wrap(model.ErrNewer), Usage, ""},
		"no bundle":           {wrap(model.ErrNotBundle), Usage, ""},
		"large bundle":        {wrap(model.ErrTooLarge), Usage, ""},
		"folder in use":       {wrap(devbroker.ErrLocked), Failed, "stop that process, or give this broker a folder"},
		"port in use":         {wrap(devbroker.ErrPortInUse), Failed, "stop that process, or choose another address"},
		"no such file":        {wrap(fs.ErrNotExist), Usage, ""},
		"forbidden":           {wrap(fs.ErrPermission), Usage, ""},
		"a folder":            {&fs.PathError{Op: "read", Path: "x", Err: syscall.EISDIR}, Usage, ""},
		"disk full":           {&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, Failed, ""},
		"interrupted":         {context.Canceled, Failed, ""},
		"several, first tell": {errors.Join(errors.New("boom"), registry.ErrNotFound), Usage, ""},
	} {
		code, hint := Explain(tc.err)
		if code != tc.code || !strings.HasPrefix(hint, tc.hint) || tc.hint == "" && hint != "" {
			t.Errorf("%s: code %d, hint %q: want %d, %q", name, code, hint, tc.code, tc.hint)
		}
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	candidate := registry.Version{Model: "houses", Number: 1, State: registry.StateCandidate}.CheckApproved()
	cause := errors.New("codec: the CSV file is empty")
	for want, err := range map[string]error{
		"boom":                                errors.New("boom"),
		"op: boom":                            &Error{Op: "op", Err: errors.New("boom")},
		"op: here: the CSV file is empty":     &Error{Op: "op", Where: "here", Err: cause},
		"here: boom":                          &Error{Where: "here", Err: errors.New("boom")},
		"plain":                               &Error{Err: errors.New("plain")},
		"train: a.csv: the CSV file is empty": fmt.Errorf("train: %w", &Error{Where: "a.csv", Err: fmt.Errorf("config: infer: %w", cause)}),
		"houses@1: not approved: it is a candidate": candidate,
		"one; two":                          errors.Join(errors.New("kafka: one"), errors.New("registry: two")),
		"approve houses@1: one; two":        fmt.Errorf("registry: approve houses@1: %w", errors.Join(errors.New("invalid: one"), errors.New("invalid: two"))),
		"damaged registry: gone":            fmt.Errorf("registry: %w: %s", registry.ErrCorrupt, "gone"),
		"describe topic houses: it is gone": &kafka.Error{Code: kafka.CodeUnknownTopic, Op: "describe topic", Where: "houses", Err: errors.New("it is gone")},
		"a model: of trains":                errors.New("a model: of trains"),
		"one line; and another":             errors.New("one line\nand another"),
		"wrapped with nothing":              emptyWrap{},
	} {
		if got := Message(err); got != want {
			t.Errorf("%v\ngot  %q\nwant %q", err, got, want)
		}
	}
}

type emptyWrap struct{}

func (emptyWrap) Error() string { return "wrapped with nothing" }
func (emptyWrap) Unwrap() error { return nil }
