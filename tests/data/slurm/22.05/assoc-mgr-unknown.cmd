scontrol -o show assoc_mgr accounts=nobody users=root flags=assoc
