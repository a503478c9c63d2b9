package config

import (
	"time"

	"millrace.dev/internal/timetable"
)

// Schedule says when models are trained.
type Schedule struct {
	// Times are the times of trainings; nil where only windows that fail lead to one.
	Times *timetable.Timetable
	// Cron and Zone are what Times was made of.
	Cron, Zone string
	// RetrainAfter is the least time between the beginnings of trainings that failed windows lead to.
	RetrainAfter time.Duration
}

func scheduleFields() []field {
	return []field{
		{
			key: "cron", kind: kindText, defDoc: "none, a model is trained only where a window fails", check: checkCron, example: `"0 3 * * 1"`,
			doc: "The times of trainings: minute, hour, day of the month, month and day of the week; the data interval of each is from the time before to it",
		},
		{key: "zone", kind: kindText, def: "UTC", check: checkZone, doc: "The time zone of cron, by its IANA name"},
		{
			key: "retrain_after", kind: kindDuration, def: "1h", least: 0, most: float64(maxHistory),
			doc: "The least time between two trainings that failed windows lead to, where checks.window.on_fail is retrain",
		},
	}
}

func checkCron(s string) *fault {
	if _, err := timetable.Parse(s, "UTC"); err != nil {
		return &fault{"want five fields of cron, and a time that comes", `such as "0 3 * * 1", Mondays at three: minute, hour, day of the month, month, day of the week`}
	}
	return nil
}

// lintSchedule makes the schedule.
func (d *decoder) lintSchedule(v value) {
	if v.node == nil || d.failed["schedule"] {
		return
	}
	s := &Schedule{Cron: v.fields["cron"].text, Zone: v.fields["zone"].text, RetrainAfter: v.fields["retrain_after"].time}
	d.p.Schedule = s
	if s.Cron == "" || d.failed["schedule.cron"] || d.failed["schedule.zone"] {
		if w := d.p.Checks.Window; s.Cron == "" && !d.failed["schedule.cron"] && (w == nil || w.OnFail != OnFailRetrain) {
			d.reportKey("schedule", "schedule has no times, and no window leads to a training", `add cron, such as cron: "0 3 * * 1", or checks.window with on_fail: retrain`)
		}
		return
	}
	s.Times, _ = timetable.Parse(s.Cron, s.Zone) // both were checked
}
