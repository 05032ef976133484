package compat

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"mtad/admin"
	"mtad/queue"
)

const qshapeUsage = "Usage: qshape [ -s ] [ -p ] [ -m <min_subdomains> ] [ -l ]\n" +
	"\t[ -b <bucket_count> ] [ -t <bucket_time> ] [ -w <terminal_width> ]\n" +
	"\t[ -N <batch_msg_count> ] [ -n <batch_top_domains> ]\n" +
	"\t[ -c <config_directory> ] [ <queue_name> ... ]"

// qshape is qshape(1).
func qshape(ctx context.Context, env *Env, args []string) int {
	opts, queues, err := getopt(args, "lhc:psw:b:t:m:n:N:")
	if err != nil || slices.ContainsFunc(opts, func(o option) bool { return o.flag == 'h' }) {
		fmt.Fprintln(env.Err, qshapeUsage)
		return exitFatal
	}
	of := queue.ShapeOf{Queues: queues}
	if len(queues) == 0 {
		of.Queues = []string{"incoming", queueActive}
	}
	config, width := "", 80
	for _, o := range opts {
		n, _ := strconv.Atoi(o.arg) // as in Perl, what is no number is 0, and 0 is the default
		switch o.flag {
		case 'c':
			config = o.arg
		case 's':
			of.By = "sender"
		case 'p':
			of.Parents = true
		case 'l':
			of.Linear = true
		case 'm':
			of.Min = max(n, 0)
		case 'b':
			of.Buckets = max(n, 0)
		case 't':
			of.Tick = time.Duration(max(n, 0)) * time.Minute
		case 'n':
			of.Limit = max(n, 0)
		case 'w':
			width = max(n, width)
		}
	}
	return env.ended("qshape", exitFatal, env.with(config, func(c *admin.Client) error {
		s, err := c.QueueShape(ctx, of)
		if err != nil {
			return err
		}
		return printQshape(env.Out, &s, width)
	}))
}

// ShapeHeads are the headings of a shape's columns: T, and the upper ends of its
// buckets in minutes.
func ShapeHeads(s *queue.Shape) []string {
	heads, last := []string{"T"}, "0"
	for _, e := range s.Edges {
		last = strconv.FormatFloat(e.Minutes(), 'g', -1, 64)
		heads = append(heads, last)
	}
	return append(heads, last+"+")
}

// minDomain is the least width of the column of domains.
const minDomain = 18

// printQshape prints a shape as qshape does: right-aligned, as wide as the terminal.
func printQshape(w io.Writer, s *queue.Shape, width int) error {
	heads := ShapeHeads(s)
	wide := make([]int, len(heads))
	total := counts(&s.Total)
	for i, h := range heads {
		wide[i] = max(len(h), len(total[i]))
		if wide[i]++; wide[i] < 3 {
			wide[i] = 3
		}
		width -= wide[i]
	}
	width = max(width, minDomain)
	out := bufio.NewWriter(w)
	row := func(name string, cells []string) {
		fmt.Fprintf(out, "%*s", width, shorten(name, width))
		for i, c := range cells {
			fmt.Fprintf(out, "%*s", wide[i], c)
		}
		fmt.Fprintln(out)
	}
	row("", heads)
	row("TOTAL", total)
	for _, slot := range s.Lines {
		row(Clean(slot.Key), counts(slot))
	}
	return out.Flush()
}

func counts(s *queue.Slot) []string {
	out := []string{strconv.Itoa(s.Total)}
	for _, n := range s.Buckets {
		out = append(out, strconv.Itoa(n))
	}
	return out
}

// shorten leaves the end of a domain that is too long.
func shorten(name string, width int) string {
	switch over := len(name) - width; {
	case over <= 0:
		return name
	case strings.HasPrefix(name, "."):
		return ".+" + name[over+2:]
	default:
		return "+" + name[over+1:]
	}
}
