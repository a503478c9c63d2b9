// Package lightgbm reads models that LightGBM has saved as text: Booster.save_model and model_to_string of Python,
// version=v3 (LightGBM 2.3 to 3.3) and v4 (since 4.0).
//
// The file is a header of lines KEY=VALUE, a block of such lines for each tree, and what this package has no use for. A
// tree with n leaves has n-1 splits, whose values are lists with spaces between; a child is a split, or ~leaf. From
// microsoft/LightGBM: src/io/tree.cpp, src/boosting/gbdt_model_text.cpp, include/LightGBM/tree.h.
//
// A forest of such a model predicts the same bits as LightGBM up to the link: the leaf values are added as float64 in the order of
// the trees. The links exp and logistic are computed by other code than that of the C library that LightGBM uses, and can
// differ from it in the last places.
package lightgbm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"millrace.dev/gbm"
	"millrace.dev/internal/importer"
)

// Format is the name of the format.
const Format = "lightgbm"

// Is tells whether data looks like such a file.
func Is(data []byte) bool {
	data = bytes.ReplaceAll(data[:min(len(data), 64)], []byte("\r"), nil)
	return bytes.HasPrefix(data, []byte("tree\nversion="))
}

// Limits of a model.
const (
	maxFeatures = 1 << 16
	maxLeaves   = 1 << 20 // of a tree
)

// Read reads a model. The data is not trusted: no more memory is asked for than a small multiple of its size. An error says
// which line and key are at fault, and what of LightGBM a forest cannot do.
func Read(data []byte) (*importer.Model, error) {
	m, err := read(data)
	if err != nil {
		return nil, fmt.Errorf("lightgbm: %w", err)
	}
	return m, nil
}

func read(data []byte) (*importer.Model, error) {
	if len(data) > importer.MaxBytes {
		return nil, fmt.Errorf("the file has %d bytes, at most %d are taken", len(data), importer.MaxBytes)
	}
	if !Is(data) {
		return nil, errors.New("it does not begin with the lines \"tree\" and \"version=\": it is no model that LightGBM has saved as text")
	}
	r := &reader{lines: lines{rest: data}, model: &importer.Model{Format: Format}}
	if err := r.header(); err != nil {
		return nil, err
	}
	if err := r.trees(); err != nil {
		return nil, err
	}
	if err := r.categories(); err != nil {
		return nil, err
	}
	if err := r.model.Check(); err != nil {
		return nil, err
	}
	return r.model, nil
}

// lines takes lines off the front of a text.
type lines struct {
	rest []byte
	n    int // of the last line
}

// next returns the next line, and false at the end.
func (l *lines) next() (string, bool) {
	if len(l.rest) == 0 {
		return "", false
	}
	line, rest, _ := bytes.Cut(l.rest, []byte{'\n'})
	l.rest = rest
	l.n++
	return string(bytes.TrimSuffix(line, []byte{'\r'})), true
}

// pair is the value of a key, and where it stands.
type pair struct {
	key, value string
	line       int
}

func (p *pair) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %s: %w", p.line, p.key, fmt.Errorf(format, args...))
}

// block is the pairs of a header or a tree.
type block struct {
	line  int // the first
	pairs map[string]*pair
}

// pairs reads lines of KEY=VALUE up to an empty one. It refuses keys that are not known: what they mean for predictions
// is not known either.
func (r *reader) block(known map[string]bool) (*block, error) {
	b := &block{line: r.n + 1, pairs: map[string]*pair{}}
	for {
		line, ok := r.next()
		if !ok || line == "" {
			return b, nil
		}
		key, value, _ := strings.Cut(line, "=")
		p := &pair{key: key, value: value, line: r.n}
		if !known[key] {
			return nil, fmt.Errorf("line %d: the key %.40q is not known", r.n, key)
		}
		if b.pairs[key] != nil {
			return nil, p.errorf("it is there twice")
		}
		b.pairs[key] = p
	}
}

func (b *block) get(key string) (*pair, error) {
	if p := b.pairs[key]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("line %d: the block that begins here has no %s", b.line, key)
}

// number returns a whole number from least to most.
func (b *block) number(key string, least, most int) (int, error) {
	p, err := b.get(key)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(p.value)
	if err != nil || n < least || n > most {
		return 0, p.errorf("%.40q is no whole number from %d to %d", p.value, least, most)
	}
	return n, nil
}

// fields returns a list of n texts.
func (b *block) fields(key string, n int) (*pair, []string, error) {
	p, err := b.get(key)
	if err != nil {
		return nil, nil, err
	}
	if have := len(strings.Fields(p.value)); have != n { // what is counted is there
		return nil, nil, p.errorf("%d values where there have to be %d", have, n)
	}
	return p, strings.Fields(p.value), nil
}

// ints returns a list of n whole numbers from least to most.
func (b *block) ints(key string, n, least, most int) ([]int, error) {
	p, texts, err := b.fields(key, n)
	if err != nil {
		return nil, err
	}
	out := make([]int, n)
	for i, s := range texts {
		if out[i], err = strconv.Atoi(s); err != nil || out[i] < least || out[i] > most {
			return nil, p.errorf("value %d, %.40q, is no whole number from %d to %d", i+1, s, least, most)
		}
	}
	return out, nil
}

// floats returns a list of n numbers, which may be infinite.
func (b *block) floats(key string, n int) ([]float64, error) {
	p, texts, err := b.fields(key, n)
	if err != nil {
		return nil, err
	}
	out := make([]float64, n)
	for i, s := range texts {
		if out[i], err = strconv.ParseFloat(s, 64); err != nil || math.IsNaN(out[i]) {
			return nil, p.errorf("value %d, %.40q, is no number", i+1, s)
		}
	}
	return out, nil
}

func keys(names string) map[string]bool {
	out := map[string]bool{}
	for n := range strings.FieldsSeq(names) {
		out[n] = true
	}
	return out
}

type reader struct {
	lines

	model *importer.Model
	sizes *pair // how long each tree's text is: there are as many trees
}

func (r *reader) header() error {
	if _, ok := r.next(); !ok { // "tree"
		return errors.New("the file is empty")
	}
	b, err := r.block(keys(`version num_class num_tree_per_iteration label_index max_feature_idx objective average_output
		feature_names monotone_constraints feature_infos tree_sizes`))
	if err != nil {
		return err
	}
	version, err := b.get("version")
	if err != nil {
		return err
	}
	if r.model.Version = version.value; version.value != "v3" && version.value != "v4" {
		return version.errorf("%.40q: v3 and v4 are read; save the model with LightGBM 2.3 or later", version.value)
	}
	for _, key := range []string{"num_class", "num_tree_per_iteration"} {
		p, err := b.get(key)
		if err != nil {
			return err
		}
		if p.value != "1" {
			return p.errorf("%.40q: a model that predicts several classes cannot be imported; make one that predicts one number", p.value)
		}
	}
	if p := b.pairs["average_output"]; p != nil {
		return p.errorf("a random forest, which averages its trees, cannot be imported; boosting has to be gbdt, dart or goss")
	}
	if err := r.objective(b.pairs["objective"]); err != nil {
		return err
	}
	if err := r.features(b); err != nil {
		return err
	}
	r.sizes, err = b.get("tree_sizes")
	return err
}

// objective sets the link. A model without an objective, or with one that was given as a function, predicts the sum.
func (r *reader) objective(p *pair) error {
	if p == nil {
		return nil
	}
	words := strings.Fields(p.value)
	if len(words) == 0 {
		return p.errorf("it has no name")
	}
	name, options := words[0], words[1:]
	r.model.Objective = name
	switch name {
	case "regression", "regression_l2", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "custom", "none":
	case "poisson", "gamma", "tweedie":
		r.model.Link = gbm.LinkExp
	case "binary", "cross_entropy", "xentropy":
		r.model.Link = gbm.LinkLogistic
	default:
		return p.errorf("models of the objective %.40q cannot be imported", name)
	}
	for _, o := range options {
		key, value, _ := strings.Cut(o, ":")
		switch key {
		case "sqrt":
			return p.errorf("a model of square roots (reg_sqrt) cannot be imported")
		case "sigmoid":
			if k, err := strconv.ParseFloat(value, 64); err != nil || k != 1 && r.model.Link == gbm.LinkLogistic {
				return p.errorf("a sigmoid of %.40q: only 1 can be imported", value)
			}
		}
	}
	return nil
}

func (r *reader) features(b *block) error {
	last, err := b.number("max_feature_idx", 0, maxFeatures-1)
	if err != nil {
		return err
	}
	_, names, err := b.fields("feature_names", last+1)
	if err != nil {
		return err
	}
	p, infos, err := b.fields("feature_infos", last+1)
	if err != nil {
		return err
	}
	for i, info := range infos {
		f := importer.Feature{Name: names[i]}
		if info != "none" && !strings.HasPrefix(info, "[") {
			f.Categorical = true
			for s := range strings.SplitSeq(info, ":") {
				code, err := strconv.Atoi(s)
				if err != nil || code > maxCode {
					return p.errorf("value %d: %.40q is no category code", i+1, s)
				}
				if code >= 0 { // less stands for what is missing
					f.Codes = append(f.Codes, code)
				}
			}
		}
		r.model.Features = append(r.model.Features, f)
	}
	return nil
}

// maxCode is the largest code of a category: codes are int32.
const maxCode = math.MaxInt32

// categories reads what Python has appended: the levels of the categorical columns of a data frame, as JSON.
func (r *reader) categories() error {
	for {
		line, ok := r.next()
		if !ok {
			return nil
		}
		text, ok := strings.CutPrefix(line, "pandas_categorical:")
		if !ok {
			continue
		}
		p := pair{key: "pandas_categorical", line: r.n}
		var lists [][]json.RawMessage
		if err := json.Unmarshal([]byte(text), &lists); err != nil {
			return p.errorf("want a list of lists, as JSON: %w", err)
		}
		for _, list := range lists {
			levels := make([]string, len(list))
			for i, raw := range list {
				var err error
				if levels[i], err = levelText(raw); err != nil {
					return p.errorf("%w", err)
				}
			}
			r.model.Lists = append(r.model.Lists, levels)
		}
	}
}

// levelText returns the text of a level: a JSON string, or a number or a truth value as it is written.
func levelText(raw json.RawMessage) (string, error) {
	var s string
	switch {
	case len(raw) == 0 || raw[0] == '[' || raw[0] == '{' || string(raw) == "null":
		return "", fmt.Errorf("%.40q is no level", raw)
	case raw[0] != '"':
		return string(raw), nil
	}
	err := json.Unmarshal(raw, &s)
	return s, err
}
