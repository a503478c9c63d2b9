package remote

import (
	"context"
	"errors"
	"math"
	"net/http"

	"millrace.dev/codec"
	"millrace.dev/record"
)

// The room for the answer to n rows: a prediction takes some twenty bytes, and a model may say more than one thing of a row.
const (
	answerBase   = 64 << 10
	answerPerRow = 1 << 10
)

func answerLimit(rows int) int64 { return answerBase + answerPerRow*int64(rows) }

// headers returns those of a request in a format, and of its trace.
func headers(r *Request, contentType, accept string) http.Header {
	h := http.Header{"Content-Type": {contentType}, "Accept": {accept}}
	if r.Traceparent != "" {
		h.Set("Traceparent", r.Traceparent)
		if r.Tracestate != "" {
			h.Set("Tracestate", r.Tracestate)
		}
	}
	return h
}

// mlflowCaller speaks to the scoring server of MLflow, whatever the flavour of the model is.
type mlflowCaller struct {
	t    *transport
	path string
}

func (c *mlflowCaller) call(ctx context.Context, r *Request, rows []int) (*Answer, *Error) {
	body := appendSplit(nil, r.Frame, rows)
	reply, fault := c.t.post(ctx, c.path, headers(r, "application/json", "application/json"), body, answerLimit(len(rows)))
	if fault != nil {
		return nil, fault
	}
	return listAnswer(predictions(reply.body, len(rows), c.t.o.Output))
}

// listAnswer returns the answer that has these predictions and nothing else.
func listAnswer(scores []float64, err error) (*Answer, *Error) {
	switch {
	case errors.Is(err, errMore), errors.Is(err, errNone):
		return nil, invalid(hintOutput, "%w", err)
	case err != nil:
		return nil, invalid("see if model.serve.protocol is the one that the server speaks", "%w", err)
	default:
		return &Answer{Scores: scores}, nil
	}
}

// appendSplit appends rows of a frame as pandas writes a data frame, split: the names, then the rows. What is missing is null.
func appendSplit(dst []byte, f *record.Frame, rows []int) []byte {
	dst = append(dst, `{"dataframe_split":{"columns":[`...)
	for i := range f.Columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, f.Columns[i].Name)
	}
	dst = append(dst, `],"data":[`...)
	for i, row := range rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		for j := range f.Columns {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = appendCell(dst, &f.Columns[j], row)
		}
		dst = append(dst, ']')
	}
	return append(dst, "]}}"...)
}

// appendCell appends a value of a column as JSON.
func appendCell(dst []byte, c *record.Column, row int) []byte {
	switch {
	case missing(c, row):
		return append(dst, "null"...)
	case c.Type == record.Numeric:
		return codec.AppendFloat(dst, c.Numbers[row])
	default:
		return appendText(dst, c.Levels[c.Codes[row]])
	}
}

// missing tells whether a column has no value for a row. The infinities, which no JSON has, do not come out of a plan.
func missing(c *record.Column, row int) bool {
	if c.Type == record.Numeric {
		return math.IsNaN(c.Numbers[row])
	}
	return c.Codes[row] < 0 || int(c.Codes[row]) >= len(c.Levels)
}
