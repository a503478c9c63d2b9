package config

import (
	order "cmp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/feature"
	"millrace.dev/record"
)

const tabled = `
version: 1
name: houses
schema:
  numeric: [price, area]
  enum: [city, seller]
  string: [street]
  time: [date]
source: {topic: houses, key: seller, event_time: date}
features:
  wealth: cities[city].income / area
  rating: sellers[seller].rate - sales.mean_area
tables:
  cities: {data: cities.csv, key: city, schema: {numeric: [income]}}
  sellers:
    topic: ref.sellers
    format: debezium
    key: id
    schema: {numeric: [rate], string: [id]}
    join: partitioned
    history: 2d
    required: true
windows:
  sales: {key: seller, over: 30d, grace: 0s, where: area > 0, aggregates: {n: count(), mean_area: mean(area)}}
train: {data: sales.csv, label: price, ignore: [street, date]}
sink: {topic: predictions}
dead_letter: {topic: houses.dlq}
`

func schemaOf(t *testing.T, fields ...record.Field) *record.Schema {
	t.Helper()
	s, err := record.NewSchema(fields...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sameSchema(a, b *record.Schema) bool {
	x, err := a.MarshalJSON()
	y, errB := b.MarshalJSON()
	return err == nil && errB == nil && string(x) == string(y)
}

func TestTables(t *testing.T) {
	t.Parallel()
	cities := Table{
		Name: "cities", Data: "dir/cities.csv", Format: "upsert", Key: "city", Join: JoinGlobal, History: 24 * time.Hour,
		Schema: schemaOf(t, record.Field{Name: "income", Type: record.Numeric}),
	}
	sellers := Table{
		Name: "sellers", Topic: "ref.sellers", Format: "debezium", Key: "id", Join: JoinPartitioned, History: 48 * time.Hour, Required: true,
		Schema: schemaOf(t, record.Field{Name: "rate", Type: record.Numeric}, record.Field{Name: "id", Type: record.String}),
	}
	for name, tc := range map[string]struct {
		set  []string
		want func(c, s *Table)
		dir  string
	}{
		"as it is": {},
		"overrides": {
			[]string{"tables.cities.topic=other", "tables.cities.data=", "tables.sellers.key=rate", "tables.sellers.required=", "tables.sellers.history=0s"},
			func(c, s *Table) {
				c.Topic, c.Data = "other", ""
				s.Key, s.Required, s.History = "rate", false, 0
			},
			"",
		},
		"state": {[]string{"state.dir=/var/lib/state"}, nil, "/var/lib/state"},
		"group": {[]string{"group=blue"}, nil, "dir/state/blue"},
	} {
		p, err := Parse("dir/pipeline.yaml", []byte(tabled), Options{Set: tc.set})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := []Table{cities, sellers}
		if tc.want != nil {
			tc.want(&want[0], &want[1])
		}
		if diff := cmp.Diff(want, p.Tables, cmp.Comparer(sameSchema)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if p.State.Dir != order.Or(tc.dir, "dir/state/houses") {
			t.Errorf("%s: state in %s", name, p.State.Dir)
		}
		if got := p.Partitioned(); got == nil || got.Name != "sellers" || p.Table("sellers") != got || p.Table("x") != nil {
			t.Errorf("%s: partitioned: %v", name, got)
		}
	}
}

func TestWindows(t *testing.T) {
	t.Parallel()
	p, err := Parse("dir/pipeline.yaml", []byte(tabled), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []feature.Window{{
		Name: "sales", Key: "seller", Where: "area > 0", Size: 30 * 24 * time.Hour, GraceSet: true,
		Aggregates: []feature.Spec{{Name: "n", Expr: "count()"}, {Name: "mean_area", Expr: "mean(area)"}},
	}}
	if diff := cmp.Diff(want, p.Windows); diff != "" {
		t.Error(diff)
	}
	if p.Source.Key != "seller" || p.Source.EventTime != "date" {
		t.Errorf("source: %+v", p.Source)
	}
}

func TestTableOverrides(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{
		"tables=x":                            "--set #1: tables is a mapping: an override sets one name of it",
		"tables.cities=x":                     "--set #1: tables.cities is a mapping: an override sets one key of it",
		"tables.cities.kee=x":                 `--set #1: tables.cities has no key "kee"`,
		"tables.cities.key.of=x":              "--set #1: tables.cities.key has no keys below it",
		"tables.cities.join=all":              `--set #1: tables.cities.join: want global or partitioned, not "all"`,
		"tables.cities.join=partitioned":      "--set #1: tables.cities.join: a table without a topic is global",
		"tables.cities.valid_from=income":     `--set #1: tables.cities.valid_from: the table has no time column "income"`,
		"tables.sellers.topic=houses":         "--set #1: tables.sellers.topic is source.topic",
		"features.wealth=cities[city].incme":  `--set #1: features.wealth: the table cities has no column "incme"`,
		"features.wealth=cities[area].income": "--set #1: features.wealth: the key of a table is a text, not a number",
		"features.wealth=sales.mean":          `--set #1: features.wealth: the window sales has no aggregate "mean"`,
		"features.wealth=sales":               "--set #1: features.wealth: sales is a window, not a value",
		"features.wealth=price":               "--set #1: features.wealth: it uses the label",
		"windows.sales.over=0s":               "--set #1: windows.sales.over: want a duration from 1s to 400d",
		"windows.sales.over=30x":              "--set #1: windows.sales.over: want a duration from 1s to 400d",
		"windows.sales.hop=60d":               "--set #1: windows.sales.hop is longer than over",
		"windows.sales.hop=20ms":              "--set #1: windows.sales: the size, 720h0m0s, and the grace, 0s, are together more than 3000 hops of 20ms",
		"windows.sales.key=area":              "--set #1: windows.sales.key: the key of a window is a text, not a number",
		"windows.sales.key=cities[city].x":    `--set #1: windows.sales.key: the table cities has no column "x"`,
		"windows.sales.where=area":            "--set #1: windows.sales.where: the condition is a number, not a bool",
		"windows.sales.aggregates.n=mean()":   "--set #1: windows.sales.aggregates.n: mean cannot be called with 0 arguments",
		"windows.sales.aggregates.n=area + 1": "--set #1: windows.sales.aggregates.n: an aggregate is one call",
		"source.event_time=street":            `--set #1: source.event_time: "street" is a field of type string`,
		"source.key=area":                     `--set #1: source.key: "area" is a field of type numeric, and a key is a text`,
	} {
		_, err := Parse("pipeline.yaml", []byte(tabled), Options{Set: []string{set}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", set, err, want)
		}
	}
}
