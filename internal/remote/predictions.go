package remote

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The answers that several servers give: a list of predictions, in JSON or CSV.

// hintOutput says what helps where an answer has more than one value for a row.
const hintOutput = "model.serve.output says which of the model's outputs is the prediction"

// predictions reads {"predictions": LIST}, or a LIST alone, where LIST has an element for each of n rows: a number, a list of one number,
// or an object with a number below the key output ("" is the only key). MLflow writes a model that returns columns as an object of
// lists in the place of LIST.
func predictions(body []byte, n int, output string) ([]float64, error) {
	r := &reader{data: body}
	p := &predictionList{reader: r, output: output, scores: make([]float64, 0, n), n: n}
	var err error
	if r.peek() == '[' {
		err = p.list()
	} else {
		err = p.wrapped()
	}
	if err == nil {
		err = r.end()
	}
	if err == nil && len(p.scores) != n {
		err = fmt.Errorf("the answer has %d predictions for %d rows", len(p.scores), n)
	}
	return p.scores, err
}

type predictionList struct {
	*reader

	output string
	scores []float64
	n      int
}

func (p *predictionList) wrapped() error {
	found := false
	err := p.object(func(key []byte) error {
		switch {
		case string(key) != "predictions":
			return p.skip(1)
		case found:
			return p.fault("predictions for the second time")
		}
		found = true
		if p.peek() == '{' {
			return p.columns()
		}
		return p.list()
	})
	if err == nil && !found {
		err = errors.New("the answer has no predictions")
	}
	return err
}

// list reads a list of predictions.
func (p *predictionList) list() error {
	return p.array(func() error {
		if len(p.scores) == p.n {
			return fmt.Errorf("the answer has more than %d predictions for %d rows", p.n, p.n)
		}
		v, err := p.element()
		p.scores = append(p.scores, v)
		return err
	})
}

// columns reads an object of lists.
func (p *predictionList) columns() error {
	found := false
	err := p.object(func(key []byte) error {
		switch {
		case p.output != "" && string(key) != p.output:
			return p.skip(2)
		case found:
			return errMore
		}
		found = true
		return p.list()
	})
	if err == nil && !found {
		err = errNone
	}
	return err
}

// The faults of elements.
var (
	errMore = errors.New("the answer has more than one value for a row")
	errNone = errors.New("the answer has no value for a row that is called as model.serve.output says")
)

// element reads the prediction of a row.
func (p *predictionList) element() (v float64, err error) {
	count := 0
	switch p.peek() {
	case '[':
		err = p.array(func() (err error) {
			count++
			v, err = p.number()
			return err
		})
	case '{':
		err = p.object(func(key []byte) (err error) {
			if p.output != "" && string(key) != p.output {
				return p.skip(3)
			}
			count++
			if p.output == "" && count > 1 { // before the value, which may be no number
				return errMore
			}
			v, err = p.number()
			return err
		})
	default:
		return p.number()
	}
	switch {
	case err != nil:
		return 0, err
	case count > 1:
		return 0, errMore
	case count == 0:
		return 0, errNone
	}
	return v, nil
}

// predictionsCSV reads the predictions of n rows from CSV: one a line, or all in one line. Cells may say that they are no number, but
// must not be empty.
func predictionsCSV(body []byte, n int) ([]float64, error) {
	body = bytes.TrimSuffix(bytes.TrimSuffix(body, []byte("\n")), []byte("\r"))
	lines := bytes.Count(body, []byte("\n")) + 1
	cells := bytes.Count(body, []byte(","))
	if lines == n && cells > 0 && (n > 1 || cells >= n) {
		return nil, errMore
	}
	if (lines != n || cells != 0) && (lines != 1 || cells != n-1) {
		return nil, fmt.Errorf("the answer has %d lines and %d commas for %d rows", lines, cells, n)
	}
	scores := make([]float64, 0, n)
	for cell := range bytes.FieldsFuncSeq(body, func(r rune) bool { return r == ',' || r == '\n' }) {
		v, ok := number(strings.TrimSpace(string(cell)))
		if !ok {
			return nil, fmt.Errorf("prediction %d of the answer is no number", len(scores))
		}
		scores = append(scores, v)
	}
	if len(scores) != n { // empty cells
		return nil, fmt.Errorf("the answer has %d predictions for %d rows", len(scores), n)
	}
	return scores, nil
}

// number reads a number as CSV has it.
func number(text string) (float64, bool) {
	switch strings.ToLower(strings.TrimLeft(text, "+-")) {
	case "nan", "null", "none", "na":
		return math.NaN(), true
	case "inf", "infinity":
	default:
		if len(text) > maxNumber || strings.Trim(text, "0123456789+-.eE") != "" { // no hexadecimals, no underscores
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil || errors.Is(err, strconv.ErrRange)
}
