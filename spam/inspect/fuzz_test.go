package inspect

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam/conf"
	"mtad/spam/regex"
	"mtad/spam/scan"
)

func message(t testing.TB, rules, text string) *scan.Scan {
	t.Helper()
	rs := conf.Parse("x.cf", rules, conf.Options{})
	if len(rs.Problems) > 0 {
		t.Fatal(rs.Problems)
	}
	return scan.New(context.Background(), &scan.Settings{Rules: rs}, []byte(text), scan.Facts{}, &regex.Budget{Steps: 1 << 30})
}

func attached(name, typ string, data []byte) string {
	return "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nx\n--b\nContent-Type: " + typ + "; name=\"" + name + "\"\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString(data) + "\n--b--\n"
}

// FuzzPDF: whatever a file has, its properties are bounded, and its links have dots.
func FuzzPDF(f *testing.F) {
	f.Add([]byte("%PDF-1.4\n/Image\n200 0 0 300 0 0 cm\n/Title(a\\)b)\n<</S/URI/URI(http://a.example/)>>\n/Author<FEFF0041>"))
	f.Add([]byte("%PDF-1.4\n/Encrypt\n/Title(\n/Creator<\n(https://plain.example.org/path)>>\n/Producer(\\376\\377\\000H)"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := pdfOf(message(t, "", attached("a.pdf", "application/pdf", data)))
		for _, l := range p.links {
			if strings.IndexByte(l, '.') <= 0 || len(l) > maxString {
				t.Errorf("link %q", l)
			}
		}
		for name, texts := range p.details {
			for text := range texts {
				if len(text) > maxString && name != "created" && name != "modified" {
					t.Errorf("%s has %d octets", name, len(text))
				}
			}
		}
	})
}

// document makes an archive with files.
func document(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i])
		mtatest.Check(t, err)
		_, err = w.Write([]byte(files[i+1]))
		mtatest.Check(t, err)
	}
	mtatest.Check(t, z.Close())
	return b.Bytes()
}

const extended = "olemacro_extended_scan 1\n"

// FuzzOffice: whatever a file has, no more is unpacked than may be.
func FuzzOffice(f *testing.F) {
	f.Add([]byte("\xd0\xcf\x11\xe0\x00Attribut\x00AutoOpen"))
	f.Add(document(f, "word/vbaProject.bin", "AutoOpen", "[Content_Types].xml", "macroEnabled", "x.rels", `<Relationship Target="mhtml:http://a.example/x" TargetMode="External"/>`))
	f.Add(document(f, "a.zip", string(document(f, "b.zip", string(document(f, "c.docm", "x"))))))
	old := Compound("WordDocument", "text", "VBA", "\x00Attribut\x00e VB_Name\x00AutoOpen\x00http://www.example.com/downloads/setup.exe\x00")
	f.Add([]byte(old))
	f.Add([]byte(Compound("EncryptedPackage", "x", "Workbook", "\x01\x00O\x00l\x00e\x001\x000\x00N\x00a\x00")))
	f.Add(document(f, "old.doc", old, "a.csv", `=MSEXCEL|'\..\Windows\System32\cmd.exe`, "b.rtf", `{\rtf1 \objdat`))
	sheet := document(f, "[Content_Types].xml", `<Override ContentType="application/vnd.ms-excel.macrosheet"/>`, "xl/vbaProject.bin", old, "xl/embeddings/oleObject1.bin", old, "word/aa.rtf", `{\rtf1`,
		"xl/_rels/workbook.xml.rels", strings.Repeat(`<Relationship Target="https://a.example/x" TargetMode="External"/>`, 12))
	f.Add(sheet)
	f.Add(document(f, "sheet.xlsm", string(sheet), "again.zip", string(document(f, "sheet.xlsx", string(sheet)))))
	locked := document(f, "secret.docm", "x")
	locked[bytes.Index(locked, []byte("PK\x01\x02"))+8] |= isLocked
	f.Add(locked)
	f.Fuzz(func(t *testing.T, data []byte) {
		o := macrosOf(message(t, extended, attached("a.zip", "application/zip", data)))
		if o.left < 0 || len(o.links) > mostRedirect || len(o.mhtml) > mostMHTML {
			t.Errorf("%d left, %q %q", o.left, o.links, o.mhtml)
		}
	})
}

// FuzzLanguages: the places of groups of letters are those of lines.
func FuzzLanguages(f *testing.F) {
	f.Add("a\nb\n0 en\na\n0 de.utf-8\n", []byte("a text"))
	f.Add("0 \n0 x\n\n\n", []byte("\xff\x00"))
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		m := parseLanguages(text)
		for g, places := range m.groups {
			for _, p := range places {
				if p.language >= len(m.names) || p.rank < 1 || p.rank > strings.Count(text, "\n")+1 {
					t.Errorf("%q: %+v", g, p)
				}
			}
		}
		for _, d := range m.distances(groupsOf(body, 0, 400), 400) {
			if d < 0 {
				t.Errorf("a distance of %d", d)
			}
		}
	})
}

// FuzzAuthres: what is read has a known method and result.
func FuzzAuthres(f *testing.F) {
	f.Add("mx.example.org (c (n)); spf=pass smtp.mailfrom=a.example; dkim=fail reason=\"x\\\"y\" header.d=b.example")
	f.Add("mx 1; none")
	f.Add("i=1; mx; arc=pass (open")
	f.Fuzz(func(t *testing.T, text string) {
		for _, arc := range []bool{false, true} {
			results, ok := parseAuthres(text, arc, func(string) bool { return true })
			for _, r := range results {
				if ok && !word(authMethods[r.method].results, r.result) {
					t.Errorf("%q: %+v", text, r)
				}
			}
		}
	})
}

// TestOffice2007: programs, links and passwords in documents that are archives.
func TestOffice2007(t *testing.T) {
	locked := document(t, "secret.docm", "x")
	// The flag in the directory says that a password is needed.
	i := bytes.Index(locked, []byte("PK\x01\x02"))
	locked[i+8] |= isLocked
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"a.docx", document(t, "word/document.xml", "x"), ""},
		{"a.docx", document(t, "word/vbaProject.bin", "Document_Open"), "macro malice"},
		{"a.docm", []byte("x"), "macro"},
		{"a.xlsx", document(t, "xl/embeddings/o.bin", "x"), "object"},
		{"a.docx", document(t, "word/x.rtf", "x"), "rtf"},
		{"a.docx", document(t, "[Content_Types].xml", `<Default ContentType="application/vnd.ms-office.vbaProject"/>`), "macro"},
		{"a.docx", document(t, "word/_rels/settings.xml.rels", `<Relationship Id="1" Target="https://a.example/t.dotm" TargetMode="External"/><Relationship Target="mhtml:http://b.example/" TargetMode="External"/>`), "links:https://a.example/t.dotm,http://b.example/ mhtml:mhtml:http://b.example/"},
		{"a.zip", document(t, "b.docm", "x"), "macro"},
		{"a.zip", document(t, "b.zip", string(document(t, "c.docm", "x"))), "macro"},
		{"a.zip", document(t, "b.zip", string(document(t, "c.zip", string(document(t, "d.docm", "x"))))), ""},
		{"a.zip", locked, "macro password"},
		{"a.zip", document(t, "b.csv", `=MSEXCEL|'\..\Windows\System32\cmd.exe`), "csv"},
		{"a.zip", []byte("PK not really"), ""},
	} {
		s := message(t, "", attached(c.name, "application/octet-stream", c.data))
		o := macrosOf(s)
		var got []string
		for i, found := range []bool{o.macro, o.object, o.rtf, o.csv, o.malice, o.renamed, o.encrypted, o.password, o.download} {
			if found {
				got = append(got, []string{"macro", "object", "rtf", "csv", "malice", "renamed", "encrypted", "password", "download"}[i])
			}
		}
		if o.links != nil {
			got = append(got, "links:"+strings.Join(o.links, ","))
		}
		if o.mhtml != nil {
			got = append(got, "mhtml:"+strings.Join(o.mhtml, ","))
		}
		if strings.Join(got, " ") != c.want || o.err != nil {
			t.Errorf("%s: %q %v, want %q", c.name, got, o.err, c.want)
		}
		for _, l := range o.links {
			if s.Links().Details[l] == nil {
				t.Errorf("%s is no link of the message", l)
			}
		}
	}
}

// TestUnpackBound: an archive that becomes too large is told of.
func TestUnpackBound(t *testing.T) {
	var files []string
	for range 40 {
		files = append(files, "a.docm", strings.Repeat("x", 1<<20))
	}
	s := message(t, "olemacro_num_zip 100\n", attached("a.zip", "application/zip", document(t, files...)))
	if o := macrosOf(s); o.err == nil || o.left != 0 {
		t.Errorf("%v, %d left", o.err, o.left)
	}
}

// TestOptions: what is off says why.
func TestOptions(t *testing.T) {
	s := message(t, "url_shortener bit.ly\nutil_rb_tld ly\n", "Subject: x\n\nhttp://bit.ly/x\n")
	if _, err := shortEval["short_url_404"](s, nil, nil); err == nil {
		t.Error("a link that is not followed is known")
	}
	if v, err := shortEval["short_url"](s, nil, nil); v != 1 || err != nil {
		t.Error(v, err)
	}
	for name, f := range Functions() {
		why := Off(s.Rules, name)
		if off := name == "check_language"; f == nil || (why != "") != off { // there is no file languages
			t.Errorf("%s: %s", name, why)
		}
	}
	s = message(t, "phishing_openphish_feed /nonexistent\n", "Subject: x\n\nx\n")
	if _, err := phishing(s, nil, nil); err == nil {
		t.Error("a list that is not there is known")
	}
	s = message(t, "ok_languages de\n", "Subject: x\n\n"+strings.Repeat("some words in a row ", 30)+"\n")
	if _, err := unwantedLanguage(s, nil, nil); err == nil || !strings.Contains(err.Error(), "languages") {
		t.Errorf("without languages: %v", err)
	}
}

func TestGroups(t *testing.T) {
	got := groupsOf([]byte("ab, AB1ab"), 0, 4)
	if want := []string{"\x00", "\x00a", "\x00ab", "\x00ab\x00"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestProgramLink(t *testing.T) {
	long := strings.Repeat("a", 990)
	for text, want := range map[string]bool{
		"\x00http://www.example.com/downloads/setup.exe\x00": true, "\x00https://www.example.com/downloads/setup.BAT|": true, "http://www.example.com/downloads/setup.exe\x00": false,
		"\x00http://a.bc.exe\x00": false, "\x00http://www.example.com/downloads/setup.exe.": false, "\x00http://www.example.com/a b/setup.exe\x00": false, "\x00http://www.example.com/u.p.exe\x00": false,
		"\x00http://www.example.com/" + long + ".exe\x00": true, "\x00http://" + long + "/" + long + ".exe\x00": true, "\x00http://" + long + long + long + ".exe\x00": false,
	} {
		if programLink([]byte(text)) != want {
			t.Errorf("%.60q: not %v", text, want)
		}
	}
}

// TestHostilePDF: brackets that nothing closes do not make a line be looked through again
// and again.
func TestHostilePDF(t *testing.T) {
	start := time.Now()
	for _, piece := range []string{"/Title(", "/S/URI/URI(", "/Author<", "/CreationDate(D:1", "/Creator(\\)", "(http://a.example/"} {
		pdfOf(message(t, "", attached("a.pdf", "application/pdf", []byte("%PDF-1.4\n"+strings.Repeat(piece, 400_000/len(piece))))))
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestCuts: files that are looked at in part, or not at all.
func TestCuts(t *testing.T) {
	links := "%PDF-1.4\n"
	for i := range maxLinks + 1 {
		links += fmt.Sprintf("/S /URI /URI (http://a.example/%d)\n", i)
	}
	s := message(t, "", attached("a.pdf", "application/pdf", []byte(links)))
	pdfOf(s)
	if got := strings.Join(s.Cuts(), "; "); got != "links: 20 of a file of PDF" {
		t.Error(got)
	}
	s = message(t, "olemacro_max_file 100\n", attached("a.docm", "application/octet-stream", document(t, "word/document.xml", strings.Repeat("x", 1000))))
	macrosOf(s)
	if got := strings.Join(s.Cuts(), "; "); got != "document: 100 octets looked at for macros" {
		t.Error(got)
	}
}
