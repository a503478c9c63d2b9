package config

import (
	order "cmp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const tabled = `
version: 1
name: houses
schema:
  numeric: [price, area, income, rate]
  enum: [city, seller]
  string: [street]
source: {topic: houses}
features: {wealth: income / area}
tables:
  cities: {topic: ref.cities, key: city, fields: [income]}
  sellers:
    topic: ref.sellers
    key: seller
    join: partitioned
    fields: [rate]
    required: true
train: {data: sales.csv, label: price, ignore: [street]}
sink: {topic: predictions}
dead_letter: {topic: houses.dlq}
`

func TestTables(t *testing.T) {
	t.Parallel()
	cities := Table{Name: "cities", Topic: "ref.cities", Format: "upsert", Key: "city", Join: JoinGlobal, Fields: []string{"income"}}
	sellers := Table{Name: "sellers", Topic: "ref.sellers", Format: "upsert", Key: "seller", Join: JoinPartitioned, Fields: []string{"rate"}, Required: true}
	for name, tc := range map[string]struct {
		set  []string
		want func(c, s *Table)
		dir  string
	}{
		"as it is": {},
		"overrides": {
			[]string{"tables.cities.topic=other", "tables.cities.fields=income, rate", "tables.sellers.fields=area", "tables.sellers.key=street", "tables.sellers.required="},
			func(c, s *Table) {
				c.Topic, c.Fields = "other", []string{"income", "rate"}
				s.Fields, s.Key, s.Required = []string{"area"}, "street", false
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
		if diff := cmp.Diff(want, p.Tables); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if p.State.Dir != order.Or(tc.dir, "dir/state/houses") {
			t.Errorf("%s: state in %s", name, p.State.Dir)
		}
		if got := p.Partitioned(); got == nil || got.Name != "sellers" {
			t.Errorf("%s: partitioned: %v", name, got)
		}
	}
}

func TestTableOverrides(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{
		"tables=x":               "--set #1: tables is a mapping: an override sets one name of it",
		"tables.cities=x":        "--set #1: tables.cities is a mapping: an override sets one key of it",
		"tables.cities.kee=x":    `--set #1: tables.cities has no key "kee"`,
		"tables.cities.key.of=x": "--set #1: tables.cities.key has no keys below it",
		"tables.cities.key=area": `--set #1: tables.cities.key: "area" is a field of type numeric, and a key is a text`,
		"tables.cities.join=all": `--set #1: tables.cities.join: want global or partitioned, not "all"`,
	} {
		_, err := Parse("pipeline.yaml", []byte(tabled), Options{Set: []string{set}})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", set, err, want)
		}
	}
	p, err := Parse("pipeline.yaml", []byte(house), Options{
		Env: lookup(map[string]string{"PW": "x"}),
		Set: []string{"tables.t.topic=ref", "tables.t.key=city", "tables.t.fields=sqft_living"},
	})
	if err != nil || len(p.Tables) != 1 || p.Tables[0].Join != JoinGlobal || p.Partitioned() != nil {
		t.Errorf("a table made of overrides: %v", err)
	}
}
