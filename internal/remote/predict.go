package remote

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"millrace.dev/record"
)

// predictCaller speaks to millrace serve: records as they came, and records with their predictions back.
type predictCaller struct {
	t    *transport
	path string
}

func (c *predictCaller) call(ctx context.Context, r *Request, rows []int) (*Answer, *Error) {
	body := []byte{'['}
	for i, row := range rows {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, r.Value(row)...)
	}
	body = append(body, ']')
	// An answer has the records again. A prediction, or a problem, comes on top.
	limit := answerLimit(len(rows)) + 2*int64(len(body))
	reply, fault := c.t.post(ctx, c.path, headers(r, "application/json", "application/json"), body, limit)
	if fault != nil {
		return nil, fault
	}
	answer, err := predicted(reply.body, len(rows), c.t.o.Output, r.Digest)
	if err != nil {
		return nil, answerFault(err)
	}
	return answer, nil
}

// errDigest says that a server has another bundle than the one whose inputs it was sent.
var errDigest = errors.New("the server predicts with another bundle than the one whose inputs it was sent")

const hintDigest = "have the server serve the registry's model, and set model.serve.version: registry"

// answerFault returns the error of an answer that a millrace cannot have given, or not for this model.
func answerFault(err error) *Error {
	if errors.Is(err, errDigest) {
		return invalid(hintDigest, "%w", err)
	}
	return invalid("see if model.serve.protocol is the one that the server speaks", "%w", err)
}

// predicted reads the answer of millrace serve to a batch of n records: {"predictions": [{"record": {...}} or {"problem": {...}}],
// "model": ..., "digest": ...}, where field is the one of a record that has its prediction.
func predicted(body []byte, n int, field, digest string) (*Answer, error) {
	r := &predictedReader{reader: reader{data: body}, field: field, n: n, answer: Answer{Scores: make([]float64, 0, n)}}
	theirs, found := "", false
	err := r.object(func(key []byte) error {
		switch string(key) {
		case "predictions":
			if found {
				return r.fault("predictions for the second time")
			}
			found = true
			return r.array(r.row)
		case "model":
			return r.into(&r.answer.Model)
		case "digest":
			return r.into(&theirs)
		default:
			return r.skip(1)
		}
	})
	if err == nil {
		err = r.end()
	}
	switch {
	case err != nil:
		return nil, err
	case len(r.answer.Scores) != n:
		return nil, fmt.Errorf("the answer has %d predictions for %d rows", len(r.answer.Scores), n)
	case digest != "" && theirs != digest:
		return nil, errDigest
	}
	return &r.answer, nil
}

type predictedReader struct {
	reader

	field  string
	n      int
	answer Answer
}

// into reads a short text.
func (r *predictedReader) into(text *string) error {
	t, err := r.text()
	if len(t) > maxWords {
		return r.fault("a text that is too long")
	}
	*text = string(t)
	return err
}

// row reads what is said of a record.
func (r *predictedReader) row() error {
	if len(r.answer.Scores) == r.n {
		return fmt.Errorf("the answer has more than %d predictions for %d rows", r.n, r.n)
	}
	var problem *record.Problem
	score, said := 0.0, 0
	err := r.object(func(key []byte) (err error) {
		switch string(key) {
		case "record":
			said++
			score, err = r.score()
		case "problem":
			said++
			problem, err = r.problem()
		default:
			err = r.skip(3)
		}
		return err
	})
	if err == nil && said != 1 {
		err = r.fault("neither a record nor a problem")
	}
	if problem != nil {
		if r.answer.Problems == nil {
			r.answer.Problems = make([]*record.Problem, r.n)
		}
		r.answer.Problems[len(r.answer.Scores)] = problem
	}
	r.answer.Scores = append(r.answer.Scores, score)
	return err
}

// score reads a record, and returns its prediction.
func (r *predictedReader) score() (v float64, err error) {
	found := 0
	err = r.object(func(key []byte) (err error) {
		if string(key) != r.field {
			return r.skip(4)
		}
		found++
		// millrace writes no prediction that is not finite, so that one is no answer of it, and says nothing of the record.
		if v, err = r.number(); err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			err = r.fault("a prediction that is no finite number")
		}
		return err
	})
	if err == nil && found != 1 {
		err = errors.New("a record of the answer has no field for the prediction, or two")
	}
	return v, err
}

// maxWords bounds what a server says in words.
const maxWords = 500

// problem reads why a record has no prediction.
func (r *predictedReader) problem() (*record.Problem, error) {
	p := &record.Problem{}
	err := r.object(func(key []byte) error {
		switch string(key) {
		case "stage":
			return r.into(&p.Stage)
		case "class":
			return r.into(&p.Class)
		case "field":
			return r.into(&p.Field)
		case "reason":
			return r.into(&p.Reason)
		default:
			return r.skip(4)
		}
	})
	if err == nil && (!plain(p.Stage) || !plain(p.Class)) {
		err = r.fault("a problem without a stage or a class")
	}
	p.Reason, p.Field = words(p.Reason), words(p.Field)
	return p, err
}

// plain tells whether a text is a name in snake_case, as metrics and headers can bear.
func plain(text string) bool {
	return text != "" && len(text) <= 64 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// words returns a text without what a terminal or a log would take for something else.
func words(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return ' '
		}
		return c
	}, text)
}
