package mlflow

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"unicode/utf8"
)

// MaxBody bounds the JSON body of a call, in bytes. One beyond it is refused before it is parsed.
const MaxBody = 64 << 10

const maxQuery = 16 << 10 // bytes of a query string

// request is what a call says, all calls together: a nil field was not there. Fields that are not known are passed over, as
// MLflow's own server does, so that a later client is understood.
type request struct {
	Name        *string  `json:"name"`
	NewName     *string  `json:"new_name"`
	Version     *string  `json:"version"`
	Key         *string  `json:"key"`
	Value       *string  `json:"value"`
	Alias       *string  `json:"alias"`
	Description *string  `json:"description"`
	Stage       *string  `json:"stage"`
	Stages      []string `json:"stages"`
	Filter      *string  `json:"filter"`
	OrderBy     []string `json:"order_by"`
	MaxResults  *int     `json:"max_results"`
	PageToken   *string  `json:"page_token"`
	Path        *string  `json:"path"`
}

// readRequest reads what a call says: a GET in its query string, all others in a JSON body.
func readRequest(r *http.Request) (*request, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return parseQuery(r.URL.RawQuery)
	}
	// A web page of another site can send a body of other types without asking first, to a server that only its own machine reaches.
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, failed(InvalidParameter, "the body has to be application/json, and the request's Content-Type has to say so")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil {
		return nil, failed(BadRequest, "the body could not be read to its end")
	}
	return parseBody(body)
}

// parseQuery reads a query string. A parameter that is not a list, and is there twice, is refused.
func parseQuery(query string) (*request, error) {
	if len(query) > maxQuery {
		return nil, failed(InvalidParameter, "the query string has %d bytes, at most %d are read", len(query), maxQuery)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, failed(InvalidParameter, "the query string is not one of name=value pairs, percent-encoded")
	}
	r := &request{Stages: values["stages"], OrderBy: values["order_by"]}
	for name, field := range map[string]**string{
		"name": &r.Name, "version": &r.Version, "alias": &r.Alias, "filter": &r.Filter, "page_token": &r.PageToken, "path": &r.Path,
		"key": &r.Key,
	} {
		switch list := values[name]; len(list) {
		case 0:
		case 1:
			*field = &list[0]
		default:
			return nil, failed(InvalidParameter, "the parameter %s is there %d times", name, len(list))
		}
	}
	if list := values["max_results"]; len(list) > 0 {
		n, err := strconv.Atoi(list[0])
		if err != nil || len(list) > 1 {
			return nil, failed(InvalidParameter, "the parameter max_results is a whole number, and there once")
		}
		r.MaxResults = &n
	}
	return r, r.check()
}

// parseBody reads a JSON object; no body at all is an empty one.
func parseBody(body []byte) (*request, error) {
	if len(body) > MaxBody {
		return nil, failed(InvalidParameter, "the body has more than %d bytes", MaxBody)
	}
	r := &request{}
	if len(body) == 0 {
		return r, nil
	}
	if err := json.Unmarshal(body, r); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
			return nil, failed(InvalidParameter, "the field %.80s is of the wrong type: %s", e.Field, e.Value)
		}
		return nil, failed(InvalidParameter, "the body is not a JSON object")
	}
	return r, r.check()
}

// check wants text that is UTF-8.
func (r *request) check() error {
	texts := append(append([]string{}, r.Stages...), r.OrderBy...)
	for _, f := range []*string{r.Name, r.NewName, r.Version, r.Key, r.Value, r.Alias, r.Description, r.Stage, r.Filter, r.PageToken, r.Path} {
		if f != nil {
			texts = append(texts, *f)
		}
	}
	for _, t := range texts {
		if !utf8.ValidString(t) {
			return failed(InvalidParameter, "a parameter is not UTF-8")
		}
	}
	return nil
}

// text returns a parameter that has to be there.
func text(field *string, name string) (string, error) {
	if field == nil || *field == "" {
		return "", failed(InvalidParameter, "the parameter %s is missing", name)
	}
	return *field, nil
}

// number returns the version that has to be there.
func (r *request) number() (int, error) {
	s, err := text(r.Version, "version")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(n) != s || n < 1 {
		return 0, failed(InvalidParameter, "the parameter version is a whole number from 1, got %.40q", s)
	}
	return n, nil
}

// or returns a parameter, "" where there is none.
func or(field *string) string {
	if field == nil {
		return ""
	}
	return *field
}
