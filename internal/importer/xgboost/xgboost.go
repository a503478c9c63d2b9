// Package xgboost reads models that XGBoost has saved: Booster.save_model of Python, as JSON or as UBJSON (the default since 2.1).
//
// XGBoost computes in single precision: an input is rounded to float32 and goes left where it is less than the split's
// condition, and leaves are added as float32 to the base score. A forest has the thresholds that decide the same for the
// input as it is, and adds in single precision, so that it predicts the same bits as XGBoost up to the link; the links exp
// and logistic can differ in the last place. As Booster.predict, and unlike the classes for scikit-learn, it uses all
// trees also where training has stopped early: save a slice of the booster to have fewer. From dmlc/xgboost: doc/tutorials/saving_model.rst,
// src/tree/tree_model.cc, src/common/categorical.h, src/objective/regression_loss.h.
package xgboost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"millrace.dev/gbm"
	"millrace.dev/internal/detmath"
	"millrace.dev/internal/importer"
)

// Format is the name of the format.
const Format = "xgboost"

// Is tells whether data looks like such a file, of either form.
func Is(data []byte) bool {
	head := bytes.TrimLeft(data[:min(len(data), 256)], " \t\r\n")
	return bytes.HasPrefix(head, []byte("{")) && bytes.Contains(head, []byte("learner"))
}

// Read reads a model. The data is not trusted: no more memory is asked for than a small multiple of its size.
func Read(data []byte) (*importer.Model, error) {
	m, err := read(data)
	if err != nil {
		return nil, fmt.Errorf("xgboost: %w", err)
	}
	return m, nil
}

// file is what is read of a file. Texts of numbers are as XGBoost writes them.
type file struct {
	Version []int `json:"version"`
	Learner struct {
		FeatureNames []string `json:"feature_names"`
		FeatureTypes []string `json:"feature_types"`
		Param        struct {
			BaseScore  json.RawMessage `json:"base_score"`
			NumClass   string          `json:"num_class"`
			NumFeature string          `json:"num_feature"`
			NumTarget  string          `json:"num_target"`
		} `json:"learner_model_param"`
		Objective struct {
			Name string `json:"name"`
		} `json:"objective"`
		Booster struct {
			Name  string `json:"name"`
			Model struct {
				Trees      []tree          `json:"trees"`
				TreeInfo   []int           `json:"tree_info"`
				WeightDrop []float32       `json:"weight_drop"`
				Cats       *categories     `json:"cats"`
				Param      json.RawMessage `json:"gbtree_model_param"`
			} `json:"model"`
		} `json:"gradient_booster"`
	} `json:"learner"`
}

func read(data []byte) (*importer.Model, error) {
	if len(data) > importer.MaxBytes {
		return nil, fmt.Errorf("the file has %d bytes, at most %d are taken", len(data), importer.MaxBytes)
	}
	if !Is(data) {
		return nil, errors.New("it is neither JSON nor UBJSON with a learner in it: it is no model that XGBoost has saved")
	}
	if isBinary(data) {
		var err error
		if data, err = toJSON(data); err != nil {
			return nil, fmt.Errorf("UBJSON: %w", err)
		}
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	m := &importer.Model{Format: Format, Version: version(f.Version), Objective: f.Learner.Objective.Name, Single: true}
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := f.objective(m); err != nil {
		return nil, err
	}
	if err := f.features(m); err != nil {
		return nil, err
	}
	var budget int64 = maxSetWords
	for i := range f.Learner.Booster.Model.Trees {
		nodes, err := f.Learner.Booster.Model.Trees[i].nodes(m, &budget)
		if err != nil {
			return nil, fmt.Errorf("learner.gradient_booster.model.trees[%d]: %w", i, err)
		}
		m.Trees = append(m.Trees, nodes)
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	return m, nil
}

func version(v []int) string {
	var parts []string
	for _, n := range v {
		parts = append(parts, strconv.Itoa(n))
	}
	return strings.Join(parts, ".")
}

// check refuses what a forest is not.
func (f *file) check() error {
	l := &f.Learner
	switch n := l.Booster.Name; {
	case n != "gbtree":
		return fmt.Errorf("learner.gradient_booster.name: a booster %.40q cannot be imported, only gbtree", n)
	case len(l.Booster.Model.WeightDrop) > 0:
		return errors.New("learner.gradient_booster.model.weight_drop: trees with weights (dart) cannot be imported")
	case l.Param.NumClass != "" && l.Param.NumClass != "0" && l.Param.NumClass != "1":
		return fmt.Errorf("learner.learner_model_param.num_class: %.40q: a model that predicts several classes cannot be imported", l.Param.NumClass)
	case l.Param.NumTarget != "" && l.Param.NumTarget != "0" && l.Param.NumTarget != "1":
		return fmt.Errorf("learner.learner_model_param.num_target: %.40q: a model of several targets cannot be imported", l.Param.NumTarget)
	case len(l.Booster.Model.Trees) != len(l.Booster.Model.TreeInfo):
		return fmt.Errorf("learner.gradient_booster.model: %d trees, tree_info of %d", len(l.Booster.Model.Trees), len(l.Booster.Model.TreeInfo))
	}
	for i, group := range l.Booster.Model.TreeInfo {
		if group != 0 {
			return fmt.Errorf("learner.gradient_booster.model.tree_info[%d]: a tree of another output", i)
		}
	}
	return nil
}

// objective sets the link and the initial value, which is the base score before the link.
func (f *file) objective(m *importer.Model) error {
	score, err := baseScore(f.Learner.Param.BaseScore)
	if err != nil {
		return fmt.Errorf("learner.learner_model_param.base_score: %w", err)
	}
	margin := float64(score)
	switch m.Objective {
	case "reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:absoluteerror", "reg:quantileerror", "reg:pseudohubererror",
		"binary:logitraw", "rank:pairwise", "rank:ndcg", "rank:map":
	case "binary:logistic", "reg:logistic":
		if !(score > 0 && score < 1) {
			return fmt.Errorf("learner.learner_model_param.base_score: %v is no probability", score)
		}
		m.Link, margin = gbm.LinkLogistic, -detmath.Log(float64(1/score-1))
	case "count:poisson", "reg:gamma", "reg:tweedie", "survival:cox":
		if !(score > 0) {
			return fmt.Errorf("learner.learner_model_param.base_score: %v is not above 0", score)
		}
		m.Link, margin = gbm.LinkExp, detmath.Log(margin)
	default:
		return fmt.Errorf("learner.objective.name: models of the objective %.40q cannot be imported", m.Objective)
	}
	m.Initial = float64(float32(margin))
	return nil
}

// baseScore reads the base score: a number, or a text of one, which may stand alone in a list.
func baseScore(raw json.RawMessage) (float32, error) {
	text := string(raw)
	var s string
	if json.Unmarshal(raw, &s) == nil {
		text = s
	}
	text = strings.Trim(strings.TrimSpace(text), "[]()")
	x, err := strconv.ParseFloat(strings.TrimSuffix(text, ","), 32)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0, fmt.Errorf("%.40q is not one number", text)
	}
	return float32(x), nil
}

// maxFeatures bounds how many features a model has.
const maxFeatures = 1 << 16

func (f *file) features(m *importer.Model) error {
	l := &f.Learner
	names, types := l.FeatureNames, l.FeatureTypes
	if len(names) == 0 {
		return errors.New("learner.feature_names: the model has no names of features, by which its inputs are found: train it on a data frame, or name them")
	}
	if len(names) > maxFeatures || len(types) != 0 && len(types) != len(names) {
		return fmt.Errorf("learner.feature_types: %d types for %d features, at most %d", len(types), len(names), maxFeatures)
	}
	if n := l.Param.NumFeature; n != strconv.Itoa(len(names)) {
		return fmt.Errorf("learner.learner_model_param.num_feature: %.40q for %d names", n, len(names))
	}
	for i, name := range names {
		feature := importer.Feature{Name: name, Categorical: len(types) > 0 && types[i] == "c"}
		if feature.Categorical {
			var err error
			if feature.Levels, err = l.Booster.Model.Cats.levels(i); err != nil {
				return fmt.Errorf("learner.gradient_booster.model.cats: feature %.80q: %w", name, err)
			}
		}
		m.Features = append(m.Features, feature)
	}
	return nil
}

// categories are the texts of the levels of categorical features, or their numbers.
type categories struct {
	Enc []struct {
		Offsets []int             `json:"offsets"`
		Values  []json.RawMessage `json:"values"`
	} `json:"enc"`
}

// levels returns the levels of a feature, by code.
func (c *categories) levels(i int) ([]string, error) {
	if c == nil || i >= len(c.Enc) || len(c.Enc[i].Values) == 0 {
		return nil, errors.New("the file does not say what its codes stand for: train with XGBoost 3.1 or later on a data frame")
	}
	enc := &c.Enc[i]
	if len(enc.Offsets) == 0 { // numbers, each a level
		levels := make([]string, len(enc.Values))
		for k, v := range enc.Values {
			levels[k] = string(v)
		}
		return levels, nil
	}
	text := make([]byte, len(enc.Values))
	for k, v := range enc.Values {
		b, err := strconv.ParseInt(string(v), 10, 16)
		if err != nil || b < math.MinInt8 || b > math.MaxUint8 {
			return nil, fmt.Errorf("values[%d]: %.40q is no byte of a text", k, v)
		}
		text[k] = byte(b)
	}
	levels := make([]string, len(enc.Offsets)-1)
	for k := range levels {
		from, to := enc.Offsets[k], enc.Offsets[k+1]
		if from < 0 || to < from || to > len(text) {
			return nil, fmt.Errorf("offsets[%d]: %d to %d of %d bytes", k, from, to, len(text))
		}
		levels[k] = string(text[from:to])
	}
	return levels, nil
}
