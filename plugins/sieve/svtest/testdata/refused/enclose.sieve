require ["enclose"];
enclose;
enclose :subject 5 "x";
