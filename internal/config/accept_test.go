package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"millrace.dev/internal/timetable"
)

func TestAccept(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want *Accept
	}{
		"none":     {"", nil},
		"no gates": {"model: {registry: m}", nil},
		"empty":    {"model: {accept: {}}", &Accept{Skew: true}},
		"defaults": {"model: {accept: {champion: {}, metrics: [{metric: rmse, max: 0}]}}", &Accept{
			Skew: true, Champion: &ChampionGate{Metric: MetricRMSE, Confidence: 0.95}, Metrics: []MetricGate{{MetricRMSE, 0}},
		}},
		"all": {`
model:
  accept:
    metrics: [{metric: rmse, max: 150000}, {metric: mae, max: 1e5}, {metric: r2, min: -0.5}]
    champion: {metric: mae, worse_by: 5%, confidence: 0.99}
    skew: false
    profile: compatible`, &Accept{
			Champion: &ChampionGate{Metric: MetricMAE, WorseBy: 0.05, Confidence: 0.99}, Profile: true,
			Metrics: []MetricGate{{MetricRMSE, 150000}, {MetricMAE, 1e5}, {MetricR2, -0.5}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Parse("x.yaml", []byte(checkedFile+c.text), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, p.Model.Accept); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want *Schedule
		next string
	}{
		"none":     {"", nil, ""},
		"defaults": {`schedule: {cron: "0 3 * * 1"}`, &Schedule{Cron: "0 3 * * 1", Zone: "UTC", RetrainAfter: time.Hour}, "2026-11-30T03:00:00Z"},
		"zone":     {`schedule: {cron: "0 3 * * 1", zone: Europe/Paris, retrain_after: 2d}`, &Schedule{Cron: "0 3 * * 1", Zone: "Europe/Paris", RetrainAfter: 48 * time.Hour}, "2026-11-30T03:00:00+01:00"},
		"windows":  {"schedule: {retrain_after: 0s}\nchecks: {window: {every: 1h, on_fail: retrain}}", &Schedule{Zone: "UTC"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Parse("x.yaml", []byte(checkedFile+c.text), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, p.Schedule, cmpopts.IgnoreTypes(&timetable.Timetable{})); diff != "" {
				t.Error(diff)
			}
			next := ""
			if p.Schedule != nil && p.Schedule.Times != nil {
				next = p.Schedule.Times.Next(time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)).Format(time.RFC3339)
			}
			if next != c.next {
				t.Errorf("next %q, want %q", next, c.next)
			}
		})
	}
}
