scontrol -o show assoc_mgr accounts=ml,paid,root users=root flags=assoc
