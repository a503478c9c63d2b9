package mlflow

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

const (
	maxMLmodel   = 1 << 20 // bytes
	mlmodelDepth = 32      // levels of lists and mappings
	maxFlavors   = 64
)

// flavors are what an MLmodel file says of each flavor, as far as it is text.
type flavors map[string]map[string]string

// parseMLmodel reads an MLmodel file. Nothing in it is followed or expanded: what stands behind an alias is passed over.
func parseMLmodel(data []byte) (flavors, error) {
	if len(data) > maxMLmodel {
		return nil, fmt.Errorf("%s has more than %d bytes", modelFile, maxMLmodel)
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(mlmodelDepth))))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", modelFile, err)
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); err != nil || len(doc.Content) != 1 {
		return nil, errors.New(modelFile + " is not a YAML document")
	}
	if err := loader.Load(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New(modelFile + " has something behind its YAML document")
	}
	list := value(doc.Content[0], "flavors")
	if list == nil || list.Kind != yaml.MappingNode || len(list.Content) == 0 || len(list.Content) > 2*maxFlavors {
		return nil, errors.New(modelFile + " names no flavors")
	}
	f := flavors{}
	for i := 0; i+1 < len(list.Content); i += 2 {
		name, of := list.Content[i], list.Content[i+1]
		if name.Kind != yaml.ScalarNode || !plainName(name.Value) || f[name.Value] != nil {
			return nil, errors.New(modelFile + " has a flavor without a name, or one twice")
		}
		texts := map[string]string{}
		if of.Kind == yaml.MappingNode {
			for j := 0; j+1 < len(of.Content); j += 2 {
				if k, v := of.Content[j], of.Content[j+1]; k.Kind == yaml.ScalarNode && v.Kind == yaml.ScalarNode {
					texts[k.Value] = v.Value
				}
			}
		}
		f[name.Value] = texts
	}
	return f, nil
}

// value returns what a mapping has for a key, or nil.
func value(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// The flavors that are imported beside [Flavor].
const (
	LightGBM = "lightgbm"
	XGBoost  = "xgboost"
)

// file returns the flavor that can be imported, and the path of its file. What only Python can read is code to be run, as a pickle
// is, and never a model to be read.
func (f flavors) file() (flavor, path string, err error) {
	for _, try := range []struct {
		flavor string
		key    string
		suffix []string
		advice string
	}{
		{Flavor, "bundle", []string{extension}, ""},
		{LightGBM, "data", []string{".lgb", ".txt"}, "log the booster alone: mlflow.lightgbm.log_model(model.booster_, ...)"},
		{XGBoost, "data", []string{".ubj", ".json", ".xgb"}, "log it with model_format=\"ubj\" or \"json\""},
	} {
		texts, ok := f[try.flavor]
		if !ok {
			continue
		}
		path := texts[try.key]
		if !cleanPath(path) || !slices.ContainsFunc(try.suffix, func(s string) bool { return strings.HasSuffix(path, s) }) {
			return "", "", &FlavorError{
				Reason: fmt.Sprintf("its flavor %s is saved as %.80q, and not as a file that ends in %s", try.flavor, path, strings.Join(try.suffix, " or ")), Hint: try.advice,
			}
		}
		return try.flavor, path, nil
	}
	return "", "", &FlavorError{
		Reason: fmt.Sprintf("it has the flavors %.300s, and %s, %s and %s can be imported", strings.Join(slices.Sorted(maps.Keys(f)), ", "), Flavor, LightGBM, XGBoost),
		Hint:   "serve it where it is, with mlflow models serve, and name that server in model.serve: docs/remote_models.md",
	}
}

// FlavorError says why a model is not one that can be imported.
type FlavorError struct {
	Reason string
	Hint   string // what to do about it; "" is nothing
}

// Error returns the reason.
func (e *FlavorError) Error() string { return e.Reason }

// cleanPath tells whether a path leads to what is below where it begins, and is written in one way alone.
func cleanPath(path string) bool {
	const most = 1000
	if path == "" || len(path) > most {
		return false
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "\\%?#") || !plainName(part) {
			return false
		}
	}
	return true
}
