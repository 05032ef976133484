/* A milter of Sendmail's library with all callbacks. Words of what it is told say
 * what it does: "mail-reject" in MAIL refuses the sender, "eom-reply" in the field
 * X-Do the message, "edit-body" there puts another body in its place. */
#include <libmilter/mfapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

struct state {
	char todo[1024], sender[512], helo[256], client[256];
	int rcpts, fields, headers_done, data;
	size_t body;
};

static int told(const char *text, const char *phase, const char *action)
{
	char word[64];

	snprintf(word, sizeof word, "%s-%s", phase, action);
	return strstr(text, word) != NULL;
}

static sfsistat act(SMFICTX *ctx, const char *phase, const char *text)
{
	if (told(text, phase, "reject")) return SMFIS_REJECT;
	if (told(text, phase, "tempfail")) return SMFIS_TEMPFAIL;
	if (told(text, phase, "accept")) return SMFIS_ACCEPT;
	if (told(text, phase, "discard")) return SMFIS_DISCARD;
	if (told(text, phase, "skip")) return SMFIS_SKIP;
	if (told(text, phase, "reply")) {
		smfi_setreply(ctx, "554", "5.7.9", "Not at all, 100%%");
		return SMFIS_REJECT;
	}
	if (told(text, phase, "lines")) {
		smfi_setmlreply(ctx, "451", "4.7.9", "one", "two", "three", NULL);
		return SMFIS_TEMPFAIL;
	}
	return SMFIS_CONTINUE;
}

static struct state *of(SMFICTX *ctx) { return smfi_getpriv(ctx); }

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *addr)
{
	struct state *s = calloc(1, sizeof *s);

	(void)addr;
	if (s == NULL) return SMFIS_TEMPFAIL;
	smfi_setpriv(ctx, s);
	snprintf(s->client, sizeof s->client, "%s", host);
	return SMFIS_CONTINUE;
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
	snprintf(of(ctx)->helo, sizeof of(ctx)->helo, "%s", name);
	return act(ctx, "helo", name);
}

static sfsistat on_mail(SMFICTX *ctx, char **args)
{
	struct state *s = of(ctx);

	s->todo[0] = 0;
	s->rcpts = s->fields = s->headers_done = s->data = 0;
	s->body = 0;
	snprintf(s->sender, sizeof s->sender, "%s", args[0]);
	return act(ctx, "mail", args[0]);
}

static sfsistat on_rcpt(SMFICTX *ctx, char **args)
{
	of(ctx)->rcpts++;
	return act(ctx, "rcpt", args[0]);
}

static sfsistat on_data(SMFICTX *ctx)
{
	of(ctx)->data++;
	return act(ctx, "data", of(ctx)->sender);
}

static sfsistat on_unknown(SMFICTX *ctx, const char *line) { return act(ctx, "unknown", line); }

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	struct state *s = of(ctx);

	s->fields++;
	if (strcmp(name, "X-Do") != 0) return SMFIS_CONTINUE;
	snprintf(s->todo, sizeof s->todo, "%s", value);
	return act(ctx, "header", value);
}

static sfsistat on_eoh(SMFICTX *ctx)
{
	of(ctx)->headers_done++;
	return act(ctx, "eoh", of(ctx)->todo);
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *piece, size_t size)
{
	(void)piece;
	of(ctx)->body += size;
	return act(ctx, "body", of(ctx)->todo);
}

static void edit(SMFICTX *ctx, struct state *s)
{
	char seen[1200];

	if (told(s->todo, "edit", "progress")) smfi_progress(ctx);
	if (told(s->todo, "edit", "add")) {
		smfi_addheader(ctx, "X-Added", "one\n\ttwo");
		smfi_addheader(ctx, "X-Spaces", "  three");
	}
	if (told(s->todo, "edit", "insert")) {
		smfi_insheader(ctx, 0, "X-Top", "0");
		smfi_insheader(ctx, 1, "X-Second", "1");
		smfi_insheader(ctx, 4, "X-Fifth", "4");
		smfi_insheader(ctx, 99, "X-Last", "99");
	}
	if (told(s->todo, "edit", "change")) {
		smfi_chgheader(ctx, "Subject", 1, "changed");
		smfi_chgheader(ctx, "X-A", 2, "second");
		smfi_chgheader(ctx, "X-New", 1, "new");
	}
	if (told(s->todo, "edit", "remove")) {
		smfi_chgheader(ctx, "X-A", 3, NULL);
		smfi_chgheader(ctx, "X-A", 1, "");
	}
	if (told(s->todo, "edit", "body")) {
		smfi_replacebody(ctx, (unsigned char *)"new\r\n", 5);
		smfi_replacebody(ctx, (unsigned char *)"body\n.\n", 7);
	}
	if (told(s->todo, "edit", "rcpt")) {
		smfi_addrcpt(ctx, "<added@far.test>");
		smfi_addrcpt_par(ctx, "<never@far.test>", "NOTIFY=NEVER");
		smfi_delrcpt(ctx, "<bob@far.test>");
	}
	if (told(s->todo, "edit", "from")) smfi_chgfrom(ctx, "<new@x.test>", NULL);
	if (told(s->todo, "edit", "hold")) smfi_quarantine(ctx, "for a look");
	if (told(s->todo, "edit", "seen")) {
		snprintf(seen, sizeof seen, "%s %s %s rcpts=%d data=%d fields=%d eoh=%d body=%zu", s->client, s->helo, s->sender, s->rcpts,
			s->data, s->fields, s->headers_done, s->body);
		smfi_addheader(ctx, "X-Seen", seen);
	}
}

static sfsistat on_eom(SMFICTX *ctx)
{
	edit(ctx, of(ctx));
	return act(ctx, "eom", of(ctx)->todo);
}

static sfsistat on_abort(SMFICTX *ctx) { (void)ctx; return SMFIS_CONTINUE; }

static sfsistat on_close(SMFICTX *ctx)
{
	free(of(ctx));
	smfi_setpriv(ctx, NULL);
	return SMFIS_CONTINUE;
}

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
	unsigned long *p0, unsigned long *p1, unsigned long *p2, unsigned long *p3)
{
	(void)ctx; (void)f2; (void)f3;
	*p0 = f0;
	*p1 = f1 & (SMFIP_SKIP | SMFIP_RCPT_REJ);
	*p2 = *p3 = 0;
	return SMFIS_CONTINUE;
}

static struct smfiDesc every = {
	"every", SMFI_VERSION, SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_CHGBODY | SMFIF_ADDRCPT | SMFIF_ADDRCPT_PAR | SMFIF_DELRCPT | SMFIF_CHGFROM | SMFIF_QUARANTINE,
	on_connect, on_helo, on_mail, on_rcpt, on_header, on_eoh, on_body, on_eom, on_abort, on_close, on_unknown, on_data, on_negotiate,
};

int main(int argc, char **argv)
{
	if (argc != 2 || smfi_setconn(argv[1]) == MI_FAILURE || smfi_register(every) == MI_FAILURE) {
		fprintf(stderr, "usage: every SOCKET\n");
		return EX_USAGE;
	}
	return smfi_main();
}
