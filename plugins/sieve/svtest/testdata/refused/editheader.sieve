require ["editheader"];
addheader "bad name" "x";
addheader "x";
deleteheader :last "x";
deleteheader :index 0 "x";
deleteheader;
