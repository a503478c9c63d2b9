package mlflow

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// item is what a search finds: a model, or a version of one.
type item struct {
	model   *Model
	version *Version // nil of a model
}

// promptTag tells MLflow's prompts from models: its clients ask for what is none in every search.
const promptTag = "mlflow.prompt.is_prompt"

// names returns the attributes, for errors.
func (a attributes) names() string { return strings.Join(slices.Sorted(maps.Keys(a)), ", ") }

// tag returns a tag of what was found.
func (i item) tag(key string) (string, bool) {
	tags := i.model.Tags
	if i.version != nil {
		tags = i.model.allTags(i.version)
	}
	value, ok := tags[key]
	return value, ok
}

// attribute returns an attribute that is text.
func (i item) attribute(key string) string {
	switch {
	case key == "name":
		return i.model.Name
	case key == "source_path" && i.version != nil:
		return i.model.source(i.version)
	case key == "user_id" && i.version != nil:
		return i.version.By
	}
	return "" // run_id: no version is of a run of MLflow's
}

// number returns an attribute that is a number.
func (i item) number(key string) int64 {
	created, updated := i.model.Created, i.model.Updated
	if i.version != nil {
		created, updated = i.version.Created, i.version.Updated
	}
	switch key {
	case "version_number":
		return int64(i.version.Number)
	case "creation_timestamp":
		return created.UnixMilli()
	}
	return updated.UnixMilli()
}

// fits tells whether all conditions hold.
func (f filter) fits(i item, known attributes) bool {
	return !slices.ContainsFunc(f, func(c clause) bool { return !c.holds(i, known) })
}

// holds tells whether a condition does. One about a tag that is not there does not.
func (c *clause) holds(i item, known attributes) bool {
	if !c.tag && known[c.key] {
		n := cmp.Compare(i.number(c.key), c.number)
		switch c.op {
		case "=":
			return n == 0
		case "!=":
			return n != 0
		case "<":
			return n < 0
		case "<=":
			return n <= 0
		case ">":
			return n > 0
		}
		return n >= 0
	}
	if !c.tag {
		return c.compare(i.attribute(c.key))
	}
	value, ok := i.tag(c.key)
	if !ok && c.key == promptTag {
		value, ok = "false", true
	}
	return ok && c.compare(value)
}

// compare tells whether a text fits.
func (c *clause) compare(s string) bool {
	switch c.op {
	case "=":
		return s == c.texts[0]
	case "!=":
		return s != c.texts[0]
	case "LIKE":
		return like(s, c.texts[0])
	case "ILIKE":
		return like(strings.ToLower(s), strings.ToLower(c.texts[0]))
	case "IN":
		return slices.Contains(c.texts, s)
	}
	return !slices.Contains(c.texts, s)
}

// order is what results are sorted by.
type order struct {
	key     string
	falling bool
}

const maxOrder = 10 // keys

// parseOrder reads what results are to be sorted by, such as "name DESC". What is left equal is sorted by ties.
func parseOrder(list []string, known attributes, ties ...order) ([]order, error) {
	if len(list) > maxOrder {
		return nil, failed(InvalidParameter, "order_by has %d keys, at most %d are read", len(list), maxOrder)
	}
	var orders []order
	for _, text := range list {
		words := strings.Fields(text)
		if len(words) == 0 || len(words) > 2 {
			return nil, failed(InvalidParameter, "invalid order_by %.60q: want KEY, KEY ASC or KEY DESC", text)
		}
		o := order{key: strings.Trim(strings.TrimPrefix(words[0], "attribute."), "`\"")}
		if o.key == "timestamp" {
			o.key = "last_updated_timestamp"
		}
		if _, ok := known[o.key]; !ok {
			return nil, failed(InvalidParameter, "invalid order_by key %.60q: there are %s", words[0], known.names())
		}
		if len(words) == 2 {
			if o.falling = strings.EqualFold(words[1], "DESC"); !o.falling && !strings.EqualFold(words[1], "ASC") {
				return nil, failed(InvalidParameter, "invalid order_by %.60q: want KEY, KEY ASC or KEY DESC", text)
			}
		}
		orders = append(orders, o)
	}
	return append(orders, ties...), nil
}

// sortItems sorts what was found.
func sortItems(items []item, orders []order, known attributes) {
	slices.SortStableFunc(items, func(a, b item) int {
		for _, o := range orders {
			n := strings.Compare(a.attribute(o.key), b.attribute(o.key))
			if known[o.key] {
				n = cmp.Compare(a.number(o.key), b.number(o.key))
			}
			if o.falling {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	})
}

// token is what a client is given to ask for the next page with.
type token struct {
	Offset int    `json:"o"`
	Query  string `json:"q"` // the digest of the search that it belongs to
}

// query returns the digest of a search.
func query(kind string, r *request) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", kind, or(r.Filter), r.OrderBy))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

func (t token) encode() string {
	text, err := json.Marshal(t)
	if err != nil {
		panic("mlflow: " + err.Error()) // a number and a text
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// parseToken reads the token of a search: the offset of the page; "" is the first.
func parseToken(s, query string) (int, error) {
	const most = 200
	if s == "" {
		return 0, nil
	}
	bad := failed(InvalidParameter, "invalid page token: it is none that this search has given")
	if len(s) > most {
		return 0, bad
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return 0, bad
	}
	var t token
	if json.Unmarshal(text, &t) != nil || t.Query != query || t.Offset < 1 || t.encode() != s {
		return 0, bad
	}
	return t.Offset, nil
}

// page returns the items of the page that is asked for, and the token of the next; "" where there is none.
func page(items []item, kind string, r *request, usual, most int) ([]item, string, error) {
	n := usual
	if r.MaxResults != nil {
		n = *r.MaxResults
	}
	if n < 1 || n > most {
		return nil, "", failed(InvalidParameter, "invalid max_results %d: it is 1 to %d", n, most)
	}
	q := query(kind, r)
	from, err := parseToken(or(r.PageToken), q)
	if err != nil {
		return nil, "", err
	}
	items = items[min(from, len(items)):]
	if len(items) <= n {
		return items, "", nil
	}
	return items[:n], token{from + n, q}.encode(), nil
}
