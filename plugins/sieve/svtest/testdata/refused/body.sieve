require ["body"];
if body :content 5 "x" {}
if body :raw :text "x" {}
if body {}
