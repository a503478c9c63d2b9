package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"millrace.dev/codec"
	"millrace.dev/gbm"
	datasource "millrace.dev/internal/source"
	"millrace.dev/model"
	"millrace.dev/record"
)

// maxName bounds a pipeline's name, as [model.CheckName] does.
const maxName = 63

// checkName accepts the names that a model can have, which are safe as folders, topics and groups, and that @ can
// follow.
func checkName(s string) *fault {
	if model.CheckName(s) == nil && s[len(s)-1] != '-' {
		return nil
	}
	f := &fault{message: fmt.Sprintf("want at most %d small letters and digits, with hyphens inside", maxName)}
	if better := Name(s); better != s && better != fallbackName {
		f.hint = quote(better) + " would do"
	}
	return f
}

const fallbackName = "pipeline"

// Name returns a legal name of a pipeline that resembles s: "House_Prices.csv" gives "house-prices-csv".
func Name(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() == maxName {
			break
		}
	}
	if name := strings.Trim(b.String(), "-"); name != "" {
		return name
	}
	return fallbackName
}

// checkTopic accepts what Kafka accepts as the name of a topic.
func checkTopic(s string) *fault {
	if f := kafkaName(s); f != nil {
		return f
	}
	if s == "." || s == ".." {
		return &fault{message: "want a name of a topic"}
	}
	return nil
}

// checkGroup accepts the characters of a topic: a group's name is part of the transactional id.
func checkGroup(s string) *fault { return kafkaName(s) }

func kafkaName(s string) *fault {
	const most = 249
	for _, r := range s {
		if !strings.ContainsRune("._-", r) && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r)) {
			return &fault{message: "want letters, digits and . _ - only"}
		}
	}
	if s == "" || len(s) > most {
		return &fault{message: fmt.Sprintf("want 1 to %d characters", most)}
	}
	return nil
}

const defaultPort = "9092"

func checkBroker(s string) *fault {
	host, port, err := net.SplitHostPort(brokerAddress(s))
	n, numErr := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || strings.ContainsAny(host, "/@ \t") || numErr != nil || n == 0 {
		return &fault{"want host:port", "such as broker-1.example.com:9092, or [::1]:9092"}
	}
	return nil
}

// brokerAddress returns the address of a broker with its port.
func brokerAddress(s string) string {
	if strings.HasSuffix(s, "]") || !strings.Contains(s, ":") {
		return s + ":" + defaultPort
	}
	return s
}

// parseDuration reads a duration in Go's notation, or a whole number of days, such as 30d.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		const most = 10_000
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > most {
			return 0, errors.New("not a number of days")
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(s)
}

// shownDuration returns a duration as the file would have it.
func shownDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day && d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d == 0:
		return "0s"
	default:
		return d.String()
	}
}

func checkZone(s string) *fault {
	if _, err := time.LoadLocation(s); err != nil || s == "Local" || s == "" {
		return &fault{"want a time zone by its IANA name", "such as UTC or America/Los_Angeles"}
	}
	return nil
}

// setParam returns field i of the pipeline's gbm parameters.
func setParam(p *Pipeline, i int) reflect.Value { return reflect.ValueOf(&p.Train.GBM).Elem().Field(i) }

// gbmRanges returns what gbm says of the values of each parameter: it is asked about values that none allows.
func gbmRanges() map[string]string {
	var p gbm.Params
	v := reflect.ValueOf(&p).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Float64:
			f.SetFloat(math.NaN())
		case reflect.String:
			f.SetString("\x00")
		default:
			f.SetInt(-1)
		}
	}
	ranges := map[string]string{}
	for _, e := range paramErrors(p.Validate()) {
		ranges[e.Param] = e.Want
	}
	return ranges
}

func paramErrors(err error) []*gbm.ParamError {
	if e, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		var list []*gbm.ParamError
		for _, one := range e.Unwrap() {
			if p, ok := errors.AsType[*gbm.ParamError](one); ok {
				list = append(list, p)
			}
		}
		return list
	}
	return nil
}

// gbmDoc describes the parameters of training. That each has a line, and each line a parameter, is tested.
func gbmDoc(key string) string {
	return map[string]string{
		"ntrees":                   "The largest number of trees",
		"max_depth":                "The largest number of splits between the root and a leaf",
		"learn_rate":               "The factor of each tree's contribution",
		"min_rows":                 "The smallest number of rows in a leaf",
		"nbins":                    "The largest number of bins of a numeric input",
		"nbins_cats":               "The largest number of bins of an enum input; beyond it, rare levels share a bin",
		"sample_rate":              "The probability with which a row takes part in a tree",
		"col_sample_rate":          "The share of the tree's inputs that a split may choose from",
		"col_sample_rate_per_tree": "The share of the inputs that a tree may use",
		"min_split_improvement":    "The share of a node's squared error by which a split must lower it",
		"cat_min_rows":             "The rows that a level of an enum needs in a node to be looked at on its own; all rarer levels go to the same side",
		"cat_smooth":               "The rows of the node's mean that are added to each level of an enum before levels are sorted",
		"cat_l2":                   "What is added to the number of rows of each side when the gain of a split of an enum is computed",
		"seed":                     "The seed of the sampling: equal seeds give equal models",
		"label_transform":          "What the trees are grown on: the label, or its natural logarithm, which needs labels above 0",
		"stopping_rounds":          "Training ends when the metric of the validation rows has not improved for this many trees; 0 trains all trees",
		"stopping_tolerance":       "The share by which the metric must improve to count",
		"stopping_metric":          "The metric of the validation rows that early stopping watches",
	}[key]
}

// gbmNone is how the file writes the parameter "".
const gbmNone = "none"

func gbmText(s string) string {
	if s == gbmNone {
		return ""
	}
	return s
}

// gbmChoices returns the values of a parameter that is a text, as the file has them.
func gbmChoices(key string) []string {
	return map[string][]string{
		"label_transform": {gbmNone, gbm.TransformLog},
		"stopping_metric": {gbm.MetricRMSE, gbm.MetricMAE},
	}[key]
}

// checkLayout accepts the layouts that codec can read times by.
func checkLayout(s string) *fault {
	schema, err := record.NewSchema(record.Field{Name: "time", Type: record.Time, Layouts: []string{s}})
	if err == nil {
		_, err = codec.NewJSON(schema, codec.JSONOptions{})
	}
	if err == nil {
		return nil
	}
	return &fault{
		fmt.Sprintf(
			"want a layout of a date or an instant in Go's notation, %s, %s, %s or %s",
			record.LayoutUnix, record.LayoutUnixMilli, record.LayoutUnixMicro, record.LayoutUnixDay,
		),
		"write the layout as the instant 2006-01-02 15:04:05 would look, such as 02/01/2006 15:04",
	}
}

// checkUnit bounds what stands behind numbers.
func checkUnit(s string) *fault {
	const most = 24
	if utf8.RuneCountInString(s) > most {
		return &fault{message: fmt.Sprintf("want at most %d characters", most), hint: "write a unit, such as $ or EUR"}
	}
	return nil
}

// checkData accepts a path and the range of a topic. What is in a file, its own name says, when it is read.
func checkData(s string) *fault {
	if !datasource.IsTopic(s) {
		return nil
	}
	if e, ok := errors.AsType[*datasource.DataError](datasource.CheckTopic(s)); ok {
		return &fault{message: "want a topic as topic://NAME?from=A&to=B (" + e.Err.Error() + ")", hint: e.Hint}
	}
	return nil
}
