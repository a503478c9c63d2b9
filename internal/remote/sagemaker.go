package remote

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"millrace.dev/codec"
	"millrace.dev/internal/secret"
	"millrace.dev/record"
)

// sageMakerCaller speaks to a container as SageMaker runs them, or to an endpoint of SageMaker.
type sageMakerCaller struct {
	t    *transport
	path string
}

// newSageMaker returns the caller for a place: requests to an endpoint of AWS are signed.
func newSageMaker(t *transport) (*sageMakerCaller, error) {
	c := &sageMakerCaller{t: t, path: t.invocations()}
	region, ok := awsRegion(t.place.host)
	if !ok {
		return c, nil
	}
	if t.place.scheme != "https" {
		return nil, errors.New("an endpoint of SageMaker is called with https")
	}
	if t.o.Token != nil {
		return nil, errors.New("an endpoint of SageMaker is called with credentials of AWS, not with a token")
	}
	who := credentials{
		id:      t.out.environ("AWS_ACCESS_KEY_ID"),
		key:     secret.New(t.out.environ("AWS_SECRET_ACCESS_KEY")),
		session: secret.New(t.out.environ("AWS_SESSION_TOKEN")),
	}
	if who.id == "" || who.key.IsZero() {
		return nil, &Error{
			Class: Forbidden, Err: errors.New("there are no credentials of AWS"),
			Hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN where they have one",
		}
	}
	if t.place.path == "" {
		if t.o.Model == "" {
			return nil, errors.New("the name of the endpoint is missing: model.serve.model, or a URL that ends in /endpoints/NAME/invocations")
		}
		c.path = "/endpoints/" + t.o.Model + "/invocations"
		if strings.Trim(t.o.Model, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
			return nil, errors.New("the name of an endpoint has letters, digits and hyphens")
		}
	}
	t.sign = func(req *http.Request, body []byte) {
		who.sign(req, body, region, "sagemaker", t.o.Now())
	}
	return c, nil
}

// awsRegion returns the region of a host that is an endpoint of AWS for SageMaker's runtime.
func awsRegion(host string) (string, bool) {
	const pattern = `^(?:[a-z0-9-]+\.)?runtime(?:-fips)?\.sagemaker\.([a-z0-9-]+)\.(?:vpce\.)?(?:amazonaws\.com|amazonaws\.com\.cn|api\.aws)$`
	m := regexp.MustCompile(pattern).FindStringSubmatch(host)
	if m == nil {
		return "", false
	}
	return m[1], true
}

func (c *sageMakerCaller) call(ctx context.Context, r *Request, rows []int) (*Answer, *Error) {
	body := appendCSV(nil, r.Frame, rows)
	// Some containers know one format only in Accept, and refuse a list of two. Those that answer in JSON all the same say so.
	reply, fault := c.t.post(ctx, c.path, headers(r, "text/csv", "text/csv"), body, answerLimit(len(rows)))
	if fault != nil {
		return nil, fault
	}
	if strings.HasPrefix(reply.header.Get("Content-Type"), "text/csv") {
		return listAnswer(predictionsCSV(reply.body, len(rows)))
	}
	return listAnswer(predictions(reply.body, len(rows), c.t.o.Output))
}

// appendCSV appends rows of a frame as CSV without a header, as the containers of SageMaker read it. What is missing is empty.
func appendCSV(dst []byte, f *record.Frame, rows []int) []byte {
	for _, row := range rows {
		start := len(dst)
		for j := range f.Columns {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = appendCSVCell(dst, &f.Columns[j], row)
		}
		if len(dst) == start { // an empty line would be skipped
			dst = append(dst, `""`...)
		}
		dst = append(dst, '\n')
	}
	return dst
}

func appendCSVCell(dst []byte, c *record.Column, row int) []byte {
	switch {
	case missing(c, row):
		return dst
	case c.Type == record.Numeric:
		return codec.AppendFloat(dst, c.Numbers[row])
	}
	level := c.Levels[c.Codes[row]]
	if !strings.ContainsAny(level, "\",\r\n") && level != "" {
		return append(dst, level...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(level, `"`, `""`)...)
	return append(dst, '"')
}
