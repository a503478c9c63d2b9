// Package timetable says when something is due that a line of cron and a time zone declare, and which interval of data each
// time is about.
//
// The line is held against the clock on the wall. Where summer time begins, the times that the clock leaps over are due when
// it has leapt, and once, however many they are; where it ends, a time that the clock shows twice is due when it shows it
// first. So no time is left out, and none comes twice.
package timetable
