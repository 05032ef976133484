package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mtad/admin"
	"mtad/plugins/lua/worker"
)

// finding is one line of `mtad check`.
type finding struct {
	Area  string `json:"area"`
	Level level  `json:"level"`
	Text  string `json:"text"`
	Do    string `json:"do,omitempty"`
}

// level says how bad a finding is.
type level string

const (
	levelOK   level = "ok"
	levelWarn level = "warn"
	levelBad  level = "bad"
)

func newCheck(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Look for what is wrong here, and say what to do", Args: cobra.NoArgs,
		Long: `Look at the configuration, the certificate, data_dir with its disk, and the
running server. Exits 1 if anything is bad. ` + "`mtad db check`" + ` reads all that is stored;
this does not.`,
	}
	f := addFormat(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		path, err := g.configPath()
		if err != nil {
			return err
		}
		found := checkAll(cmd.Context(), g, path)
		err = printList(cmd.OutOrStdout(), *f, found, func(w io.Writer) error {
			var rows [][]string
			for _, x := range found {
				rows = append(rows, []string{string(x.Level), x.Area, clean(x.Text)})
				if x.Do != "" {
					rows = append(rows, []string{"", "", "-> " + clean(x.Do)})
				}
			}
			return printTable(w, []string{"", "AREA", "WHAT"}, rows)
		})
		if err != nil {
			return err
		}
		bad := 0
		for _, x := range found {
			if x.Level == levelBad {
				bad++
			}
		}
		if bad > 0 {
			return exitf(exitNo, "%d bad", bad)
		}
		return nil
	}
	return cmd
}

func checkAll(ctx context.Context, g *global, path string) []finding {
	c, found := checkConfig(path)
	if c == nil {
		return found
	}
	found = append(found, checkCertificate(c, time.Now())...)
	found = append(found, checkDir(c.top.DataDir)...)
	if err := c.top.CheckMaildrop(c.top.DataDir); err != nil {
		found = append(found, finding{"maildrop", levelWarn, err.Error(), "until then `sendmail` works for root alone, while the server runs"})
	}
	found = append(found, checkWorkers(c)...)
	return append(found, checkServer(ctx, g)...)
}

func checkConfig(path string) (*loaded, []finding) {
	var b *built
	c, err := loadConfig(path)
	if err == nil {
		b, err = c.build(offline(), nil)
	}
	if err != nil {
		return nil, []finding{{"configuration", levelBad, err.Error(), "`mtad config check` shows the place; nothing else was looked at"}}
	}
	found := []finding{{"configuration", levelOK, path, ""}}
	if w := monitorWarning(c); w != "" {
		found = append(found, finding{"monitor", levelWarn, w, "run this as the user that starts the server, if that is root"})
	}
	for _, w := range ruleWarnings(c, b) {
		found = append(found, finding{"rules", levelWarn, w, ""})
	}
	return c, found
}

// Certificates are renewed in the last weeks of their life.
const (
	certSoon = 21 * 24 * time.Hour
	certLate = 3 * 24 * time.Hour
)

func checkCertificate(c *loaded, now time.Time) []finding {
	cert, err := c.certificate()
	if err != nil {
		return []finding{{"certificate", levelBad, err.Error(), ""}}
	}
	if cert == nil {
		return nil
	}
	left := cert.Leaf.NotAfter.Sub(now)
	f := finding{"certificate", levelOK, fmt.Sprintf("%v, good until %s", cert.Leaf.DNSNames, cert.Leaf.NotAfter.Format(time.DateOnly)), ""}
	switch {
	case left <= 0:
		f.Level, f.Do = levelBad, "it has expired: put a new one in place and run `mtad reload`"
	case left < certLate:
		f.Level, f.Do = levelBad, "renew it, then run `mtad reload`"
	case left < certSoon:
		f.Level, f.Do = levelWarn, "renew it, then run `mtad reload`"
	}
	return []finding{f}
}

// checkWorkers tells how far users' Lua scripts are locked in, if there may be any.
func checkWorkers(c *loaded) []finding {
	for _, p := range c.pipelines {
		for _, b := range p.Blocks("filter") {
			if b.Labels()[0] != "lua" || !b.Has("scripts") {
				continue
			}
			if v := worker.Landlock(); v > 0 {
				return []finding{{"lua", levelOK, fmt.Sprintf("users' scripts run behind Landlock (version %d)", v), ""}}
			}
			return []finding{{"lua", levelWarn, "this kernel has no Landlock: users' scripts run in processes of their own all the same, but only the language keeps them from files and network", "use a kernel from 5.13 on with landlock among its lsm="}}
		}
	}
	return nil
}

// What data_dir should have free, and how long a synced write may take.
const (
	spaceWarn = 2 << 30
	spaceBad  = 256 << 20
	syncWarn  = 100 * time.Millisecond
	syncBad   = time.Second
)

func checkDir(dir string) []finding {
	info, err := os.Stat(dir)
	if err != nil {
		return []finding{{"data_dir", levelBad, err.Error(), "`mtad serve` makes it at its first start"}}
	}
	var found []finding
	if info.Mode().Perm()&0o077 != 0 {
		found = append(found, finding{"data_dir", levelBad, fmt.Sprintf("%s has mode %04o: others can read mail", dir, info.Mode().Perm()), "chmod 700 " + dir})
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return append(found, finding{"data_dir", levelBad, fmt.Sprintf("%s: %v", dir, err), ""})
	}
	free := int64(st.Bavail) * st.Bsize
	f := finding{"disk", levelOK, fmt.Sprintf("%s free at %s", octets(free), dir), ""}
	switch {
	case free < spaceBad:
		f.Level, f.Do = levelBad, "make room: mail is put off with 452 when nothing is left"
	case free < spaceWarn:
		f.Level, f.Do = levelWarn, "make room soon"
	}
	if st.Files > 0 && st.Ffree < 1000 {
		f.Level, f.Text, f.Do = levelBad, f.Text+fmt.Sprintf(", %d inodes", st.Ffree), "the file system has no inodes left for new files"
	}
	return append(found, f, checkSync(dir))
}

// checkSync writes and syncs what a message of usual size takes.
func checkSync(dir string) finding {
	begin := time.Now()
	f, err := os.CreateTemp(dir, ".check-*")
	if err == nil {
		_, err = f.Write(make([]byte, 10<<10))
		err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
	}
	took := time.Since(begin)
	out := finding{"disk", levelOK, fmt.Sprintf("a synced write takes %s", took.Round(10*time.Microsecond)), ""}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return finding{"disk", levelWarn, err.Error(), "run this as the server's user to see whether the disk can be written"}
	case err != nil:
		return finding{"disk", levelBad, "can't be written: " + err.Error(), "mail is put off until it can; look at dmesg and at the mount's options"}
	case took > syncBad:
		out.Level, out.Do = levelBad, "every message waits for one: look at what else uses the disk, and at its health"
	case took > syncWarn:
		out.Level, out.Do = levelWarn, "every message waits for one"
	}
	return out
}

// octets writes a size as people read it.
func octets(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f kB", float64(n)/(1<<10))
}

// checkServer asks the running server how it is.
func checkServer(ctx context.Context, g *global) []finding {
	c, err := g.client()
	if err != nil {
		return []finding{{"server", levelBad, err.Error(), ""}}
	}
	defer c.Close()
	st, err := c.Status(ctx)
	if err != nil {
		return []finding{{"server", levelBad, err.Error(), ""}}
	}
	found := []finding{{"server", levelOK, fmt.Sprintf("mtad %s runs since %s", st.Version, st.Started.Local().Format(time.DateTime)), ""}}
	found = append(found, checkDatabase(ctx, c), checkBacklog(st.Journal), checkQueue(st.Queue))
	for _, s := range st.Steps {
		if s.BreakerOpen {
			found = append(found, finding{"filter", levelBad, fmt.Sprintf("%s/%s is not asked: it failed again and again", s.Pipeline, s.Step), "mail meets its on_error; the log says why it fails"})
		}
	}
	return append(found, checkPostmaster(ctx, c))
}

func checkDatabase(ctx context.Context, c *admin.Client) finding {
	took, err := c.Probe(ctx)
	if err != nil {
		return finding{"database", levelBad, err.Error(), "what was accepted stays in the journal until it can be written; `mtad db check` looks closer"}
	}
	f := finding{"database", levelOK, fmt.Sprintf("a commit takes %s", took.Round(10*time.Microsecond)), ""}
	if took > syncBad {
		f.Level, f.Do = levelWarn, "look at what else uses the disk"
	}
	return f
}

// backlogWarn is accepted mail that waits for the database.
const backlogWarn = 1000

func checkBacklog(j admin.JournalStatus) finding {
	f := finding{"journal", levelOK, fmt.Sprintf("%d accepted messages wait for the database", j.Records), ""}
	if j.Records > backlogWarn {
		f.Level, f.Do = levelWarn, "the database does not keep up"
	}
	return f
}

func checkQueue(q admin.QueueStatus) finding {
	f := finding{"queue", levelOK, fmt.Sprintf("%d recipients, %d held", q.Items, q.Held), ""}
	if q.Held > 0 {
		f.Level, f.Do = levelWarn, "`mtad queue list --status held` shows what waits for you"
	}
	return f
}

func checkPostmaster(ctx context.Context, c *admin.Client) finding {
	r, err := c.Route(ctx, "", "postmaster")
	if err == nil && (r.Class == "local" || r.Class == "alias") {
		return finding{"postmaster", levelOK, r.Address + " is read", ""}
	}
	return finding{"postmaster", levelBad, "nobody gets postmaster's mail (RFC 5321, 4.5.1)", "set postmaster to an address that exists, or run `mtad alias add postmaster ADDRESS`"}
}
